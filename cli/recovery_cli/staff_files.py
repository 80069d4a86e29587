"""Staff directories named on the command line."""

from recovery_cli.exits import Unusable
from recovery_engine import PolicyError, Staff, read_staff_file


def named_staff(path: str) -> Staff:
    """The staff directory in a file. Raises Unusable with every mistake in it."""
    try:
        return read_staff_file(path)
    except PolicyError as error:
        raise Unusable("the staff directory cannot be used", diagnostics=error.diagnostics) from None
