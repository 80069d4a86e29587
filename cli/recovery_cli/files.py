"""Files that commands read and write; `-` is stdin and stdout."""

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

import rich_click as click

from recovery_cli.exits import ReaderLeft, Unusable, cannot_write

STANDARD_STREAM = "-"


def shown_name(name: str) -> str:
    """The name of an input for people."""
    return "stdin" if name == STANDARD_STREAM else name


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """A file to read, or stdin. Raises Unusable where it cannot be opened."""
    if name == STANDARD_STREAM:
        yield sys.stdin.buffer
        return
    try:
        stream = open(name, "rb")  # noqa: SIM115  a failure to open it is the user's, one while it is open is not
    except OSError as error:
        raise Unusable(f"cannot read {name}: {(error.strerror or str(error)).lower()}") from None
    with stream:
        yield stream


def keep_apart(option: str, output: str | None, inputs: Iterable[str | Path]) -> None:
    """Raises Unusable where what *option* names would be written over one of the inputs."""
    if output is None or output == STANDARD_STREAM:
        return
    written = _identity(output)
    for name in inputs:
        if written is not None and _identity(name) == written:
            message = f"{option} {output} would overwrite {shown_name(str(name))}, which is read"
            raise Unusable(message, "choose another file")


def _identity(name: str | Path) -> tuple[int, int] | None:
    """The same for every name of one regular file; None for what is none, or is not there."""
    try:
        found = os.fstat(sys.stdin.fileno()) if name == STANDARD_STREAM else os.stat(name)
    except (OSError, ValueError):  # ValueError: a name that no file can have, or a stdin that is none
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def write_text(name: str, text: str, *, only_if_new: bool = False) -> None:
    """Write a text to a file, or to stdout for ``-``. Raises CannotWrite, or Unusable where a file is in the way."""
    if name == STANDARD_STREAM:
        click.echo(text, nl=not text.endswith("\n"))
        return
    try:
        file = open(name, "x" if only_if_new else "w", encoding="utf-8", newline="\n")  # noqa: SIM115
    except FileExistsError:
        raise Unusable(f"{name} is already there", "choose another name, or --force") from None
    except OSError as error:
        raise _cannot_open(name, error) from None
    try:
        with file:
            file.write(text)
    except OSError as error:
        raise cannot_write(name, error) from None
    click.echo(f"wrote {name}", err=True)


def rewrite(name: str, content: bytes) -> None:
    """Put other content into a file that is there: whole or not at all, whatever happens; its mode stays.

    Raises CannotWrite.
    """
    path = os.path.realpath(name)
    partial = f"{path}.{os.getpid()}-{secrets.token_hex(4)}.partial"
    try:
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with open(partial, "xb") as file:
            os.fchmod(file.fileno(), stat.S_IMODE(os.stat(path).st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise cannot_write(name, error) from None
    finally:
        with suppress(OSError):
            os.unlink(partial)


def _cannot_open(name: str, error: OSError) -> Unusable:
    return Unusable(f"cannot write {name}: {(error.strerror or str(error)).lower()}")


class WholeLines:
    """An output that holds whole lines whatever happens.

    A regular file grows under a name of this run alone and takes its own name when it is complete, so that a run that
    is stopped leaves the file that was there before, and two runs do not write into each other's.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.partial = ""
        self._good = 0
        self._stream: RawIOBase | BinaryIO
        if name == STANDARD_STREAM:
            self._stream = sys.stdout.buffer
            return
        if not Path(name).exists() or Path(name).is_file():
            self.name = os.path.realpath(name)
            self.partial = f"{self.name}.{os.getpid()}-{secrets.token_hex(4)}.partial"
        try:
            self._stream = open(self.partial or name, "xb" if self.partial else "wb", buffering=0)  # noqa: SIM115  closed by finish()
        except OSError as error:
            raise _cannot_open(name, error) from None

    def write(self, line: bytes) -> None:
        """Append one line, whole. Raises CannotWrite, or BrokenPipeError where nobody reads any more."""
        try:
            self._write_all(line)
        except BrokenPipeError:
            raise
        except OSError as error:
            self._cut_back()
            raise cannot_write(self.partial or self._shown, error) from None
        self._good += len(line)

    def finish(self) -> None:
        """Everything is written: give the file its name."""
        try:
            self.close()
            if self.partial:
                os.replace(self.partial, self.name)
        except OSError as error:
            raise cannot_write(self.name, error) from None

    def discard(self) -> None:
        """Nothing worth keeping was written."""
        self.close()
        if self.partial:
            Path(self.partial).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file, complete or not."""
        if self.name != STANDARD_STREAM:
            self._stream.close()

    @property
    def _shown(self) -> str:
        return "the output" if self.name == STANDARD_STREAM else self.name

    def _write_all(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            rest = rest[self._stream.write(rest) or 0 :]
        self._stream.flush()

    def _cut_back(self) -> None:
        """A full disk took part of a line: take that part away again."""
        if self.partial:
            os.ftruncate(self._stream.fileno(), self._good)


class Stdout:
    """Standard output for what writes while it reads a database: its failures are told apart from the database's."""

    def write(self, content: bytes) -> int:
        """Write. Raises CannotWrite, ReaderLeft."""
        try:
            return sys.stdout.buffer.write(content)
        except BrokenPipeError as error:
            raise ReaderLeft from error
        except OSError as error:
            raise cannot_write("the output", error) from error


def on_a_terminal(stream: str) -> bool:
    """Whether somebody watches ``stdout`` or ``stderr``."""
    return bool(getattr(sys, stream).isatty())
