"""Ctrl-C between two rows: each is dealt with and counted, or not begun."""

import signal
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")


class BetweenRows:
    """Ctrl-C takes effect between two rows, so that each is written and counted, or neither; a second one at once."""

    def __init__(self) -> None:
        self._waiting, self._asked = False, False
        self._before = _on_interrupt(self._interrupt)

    def each(self, rows: Iterable[Item], *, read: bool = False) -> Iterator[Item]:
        """The rows, until Ctrl-C. Raises KeyboardInterrupt.

        Where they are *read* from a database, that is not broken off: Ctrl-C takes effect in ``wait``, or before a row.
        """
        following = iter(rows)
        while True:
            self._waiting = not read
            if self._asked:
                raise KeyboardInterrupt
            try:
                row = next(following)
            except StopIteration:
                return
            finally:
                self._waiting = False
            yield row

    def wait(self, seconds: float) -> None:
        """Let time go by, until Ctrl-C. Raises KeyboardInterrupt."""
        self._waiting = True
        try:
            if self._asked:
                raise KeyboardInterrupt
            time.sleep(seconds)
        finally:
            self._waiting = False

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
