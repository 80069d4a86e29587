"""A bar on stderr for what takes long, where somebody watches it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from recovery_cli.files import on_a_terminal
from recovery_cli.render import console


class Told(Protocol):
    """Takes how much is done so far, and of how much."""

    def __call__(self, done: int, total: int | None = None, /) -> None: ...


@contextmanager
def bar(what: str, total: Callable[[], int | None] | None = None) -> Iterator[Told | None]:
    """What to tell how much is done; None where nobody watches. *total* is asked only where somebody does."""
    if not on_a_terminal("stderr"):
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(to_stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total() if total else None)

        def told(done: int, total: int | None = None) -> None:
            progress.update(task, completed=done, total=total)

        yield told
