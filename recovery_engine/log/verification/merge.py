"""The streams of a log brought into one order in which every entry comes after all that it says it came after.

Entries that touch the same subject number themselves: [subject, version]. A stream that is ahead waits for the others.
"""

from collections import deque
from collections.abc import Callable, Iterable

from recovery_engine.log.verification.chain import Chain, Link
from recovery_engine.log.verification.shelf import Shelf
from recovery_engine.log.verification.snapshot import Progress

Take = Callable[[Chain, Link], None]
"""Takes the next entry of a stream."""

_TOLD_EVERY = 1_000


class Merge:
    """Runs through *chains*, the entries in order, and gives each to *take*."""

    def __init__(
        self, chains: Iterable[Chain], versions: Shelf[int], take: Take, progress: Progress | None, total: int
    ) -> None:
        self._ready = deque(chains)
        self._versions, self._take = versions, take
        self._progress, self._total, self._done = progress, total, 0
        self._waiting: dict[tuple[str, int], list[Chain]] = {}

    def run(self) -> None:
        """To the end of every stream; where none can go on, one is let through and told so."""
        while self._ready or self._waiting:
            while self._ready:
                self._go_on(self._ready.popleft())
            if self._waiting:
                self._let_one_through()
        if self._progress is not None:
            self._progress(self._done, self._total)

    def _go_on(self, chain: Chain) -> None:
        """As far as a stream comes before it has to wait."""
        take, let_in = self._take, self._let_in
        while True:
            link = chain.held
            if link is None:
                row = chain.row()
                if row is None:
                    return
                self._count()
                link = chain.take(row)
                if link is None:
                    continue
            if "touches" in link.entry and not let_in(chain, link):
                return
            chain.held = None
            take(chain, link)

    def _let_in(self, chain: Chain, link: Link) -> bool:
        """Count the subjects of an entry on, unless it has to wait for one."""
        versions, touches = self._versions, link.entry["touches"]
        at = [versions.get(subject) or 0 for subject, _ in touches]
        for (subject, version), before in zip(touches, at, strict=True):
            if version > before + 1:
                chain.held = link
                self._waiting.setdefault((subject, version - 1), []).append(chain)
                return False
        for (subject, version), before in zip(touches, at, strict=True):
            if version <= before:
                chain.wrong(link.entry["seq"], f"touches `{subject}` as number {version}, and {before} came before it")
                continue
            versions.put(subject, version)
            if self._waiting:
                self._wake(subject, version)
        return True

    def _wake(self, subject: str, version: int) -> None:
        self._ready.extend(self._waiting.pop((subject, version), ()))

    def _let_one_through(self) -> None:
        """Nobody can go on: what the stream with the oldest entry waits for is taken as lost."""
        waits_for, chain = min(
            ((waits_for, chain) for waits_for, chains in self._waiting.items() for chain in chains),
            key=lambda pair: (_time(pair[1]), pair[1].name),
        )
        subject, before = waits_for
        assert chain.held is not None
        at = self._versions.get(subject) or 0
        missing = f"number {before}" if at + 1 == before else f"numbers {at + 1} to {before}"
        chain.wrong(
            chain.held.entry["seq"], f"touches `{subject}` as number {before + 1}, and {missing} cannot come before it"
        )
        self._versions.put(subject, before)
        for name, version in [key for key in self._waiting if key[0] == subject and key[1] <= before]:
            self._wake(name, version)

    def _count(self) -> None:
        self._done += 1
        if self._progress is not None and self._done % _TOLD_EVERY == 0:
            self._progress(self._done, self._total)


def _time(chain: Chain) -> int:
    assert chain.held is not None
    return int(chain.held.entry["at_us"])
