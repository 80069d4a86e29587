"""Ctrl-C between two rows: each is dealt with and counted, or not begun."""

import signal
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")


class BetweenRows:
    """Ctrl-C takes effect between two rows, so that each is written and counted, or neither; a second one at once."""

    def __init__(self) -> None:
        self._waiting, self._asked = False, False
        self._before = _on_interrupt(self._interrupt)

    def each(self, rows: Iterable[Item]) -> Iterator[Item]:
        """The rows, until Ctrl-C. Raises KeyboardInterrupt."""
        following = iter(rows)
        while True:
            self._waiting = True
            if self._asked:
                raise KeyboardInterrupt
            try:
                row = next(following)
            except StopIteration:
                return
            finally:
                self._waiting = False
            yield row

    def over(self) -> None:
        """Leave Ctrl-C to whoever had it before."""
        _on_interrupt(self._before)

    def _interrupt(self, *_: object) -> None:
        if self._waiting or self._asked:
            raise KeyboardInterrupt
        self._asked = True


def _on_interrupt(handler: Any) -> Any:
    """Handle Ctrl-C, except where whoever started us wants it ignored; who handled it before."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        return signal.SIG_IGN
    try:
        return signal.signal(signal.SIGINT, handler)
    except ValueError:  # not the main thread: nobody can press Ctrl-C here
        return signal.default_int_handler
