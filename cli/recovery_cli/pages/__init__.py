"""Pages to read, print and send on: one self-contained HTML file each."""

from collections.abc import Callable
from importlib import import_module

from recovery_cli.exits import Unusable
from recovery_cli.files import write_text


def page_writer(name: str | None, report: str) -> Callable[..., None]:
    """What writes the page of a *report* to a file, or to stdout for ``-``; where no name is given, nothing.

    Asked for before the work is done, so that it is not done in vain. Raises Unusable where no chart can be drawn.
    """
    if name is None:
        return lambda *_: None
    try:
        made = getattr(import_module(f"recovery_cli.pages.{report}"), f"{report}_page")
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        message = "--html draws its charts with matplotlib, which is not installed"
        raise Unusable(message, "pip install 'recovery-engine[whatif]'") from None
    return lambda *found: write_text(name, made(*found))
