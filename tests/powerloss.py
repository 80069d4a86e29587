"""What may be found after power loss: a run is recorded on a ``Disk``, and cut off after every operation of it.

What was synced is there. Every other operation may have happened, or not, or in part: some sectors of a write (512 or
4,096 bytes), its length without its content, rubbish where it should be. A file made or deleted may be missing or back
until the folder is synced. The order in which they were made means nothing.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from tests.faulty_disk import Disk, Fault, Operation

Files = dict[str, bytes]
Pieces = list[tuple[int, bytes]]
Fate = Callable[[Operation, Random], Pieces | None]

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where the folders are made: what power loss does is worked out, so nothing has to reach a real disk."""


@dataclass(frozen=True)
class Record:
    """A run: the files before it, what it did to the disk, what was acknowledged when, and the files it left."""

    start: Files
    operations: tuple[Operation, ...]
    attempts: tuple[str, ...]
    acknowledged: tuple[tuple[int, Any], ...]
    left: Files

    def acknowledged_at(self, point: int) -> list[Any]:
        """The tokens that were acknowledged before operation number *point* (from 0) began."""
        return [token for done, token in self.acknowledged if done <= point]


def record(run: Callable[[Disk], None], start: Mapping[str, bytes] | None = None, fault: Fault | None = None) -> Record:
    """Call *run* with a disk that holds the files of *start*; connections it leaves open are not closed on the record.

    *run* opens databases in ``disk.folder`` with ``disk.connect`` and says with ``disk.acknowledge`` what it promised.
    """
    with TemporaryDirectory(dir=IN_MEMORY) as folder:
        _write(start := dict(start or {}), Path(folder))
        disk = Disk(Path(folder), fault)
        try:
            run(disk)
            made = Record(
                start, tuple(disk.operations), tuple(disk.attempts), tuple(disk.acknowledged), disk.contents()
            )
        finally:
            disk.close()
    sure = _Sure.of(start)
    for operation in made.operations:
        sure.advance(operation)
    # If this fails, something reached the files past the record, and no crash state can be trusted.
    assert sure.found([kept] * len(sure.pending), Random(0)) == made.left
    return made


@contextmanager
def restored(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A fresh folder with *files*, for an ordinary SQLite to open."""
    with TemporaryDirectory(dir=IN_MEMORY) as folder:
        _write(files, Path(folder))
        yield Path(folder)


def states(record: Record, seed: int, per_point: int) -> Iterator[tuple[int, Files]]:
    """Yield (operations done, files found) for power loss after each operation, at most *per_point* times each.

    States that were found before, with as much acknowledged, are left out. The same *seed* gives the same states.
    """
    rng = Random(seed)
    sure, seen = _Sure.of(record.start), set()
    for point in range(len(record.operations) + 1):
        told = len(record.acknowledged_at(point))
        for fates in islice(_plans(sure.pending, rng), per_point):
            files = sure.found(fates, rng)
            if (key := hash((told, frozenset(files.items())))) not in seen:
                seen.add(key)
                yield point, files
        if point < len(record.operations):
            sure.advance(record.operations[point])


def kept(operation: Operation, rng: Random) -> Pieces | None:
    """It happened."""
    return [(operation.offset, operation.content)]


def dropped(operation: Operation, rng: Random) -> Pieces | None:
    """It did not happen."""
    return None


def hole(operation: Operation, rng: Random) -> Pieces | None:
    """The file is as long as it should be; what was written is not there."""
    return [(operation.offset + len(operation.content), b"")]


def rubbish(operation: Operation, rng: Random) -> Pieces | None:
    """Something else is where it should be."""
    return [(operation.offset, rng.randbytes(len(operation.content)))]


def torn(operation: Operation, rng: Random) -> Pieces | None:
    """Only some sectors of it happened, or of a write within one sector only its first bytes or its last."""
    size, start, end = rng.choice((512, 4096)), operation.offset, operation.offset + len(operation.content)
    cuts = [start, *range((start // size + 1) * size, end, size), end]
    if len(cuts) == 2:
        cuts.insert(1, rng.randint(start, end))
    sectors = list(pairwise(cuts))
    some = rng.randrange(1, len(sectors))
    happened = rng.choice((sectors[:some], sectors[some:], sorted(rng.sample(sectors, some))))
    return [(at, operation.content[at - start : to - start]) for at, to in happened]


FATES: list[Fate] = [kept, dropped, hole, rubbish, torn]
FOLDER = ("create", "delete")


def _plans(pending: list[Operation], rng: Random) -> Iterator[list[Fate]]:
    """Fates for *pending*, without end: the extremes first, then one operation apart from the rest, and any mixture."""
    yield [dropped for _ in pending]
    if not pending:
        return
    yield [kept for _ in pending]
    yield [dropped if operation.kind in FOLDER else kept for operation in pending]
    yield [kept if operation.kind in FOLDER else dropped for operation in pending]
    around = [(kept, kept), (dropped, dropped), (kept, dropped)]
    apart = [(*rest, at, fate) for rest in around for at in range(len(pending)) for fate in FATES]
    rng.shuffle(apart)
    for before, after, at, fate in apart:
        yield [before] * at + [fate] + [after] * (len(pending) - at - 1)
        yield rng.choices(FATES, k=len(pending))
    while True:
        yield rng.choices(FATES, k=len(pending))


@dataclass
class _Sure:
    """What is certainly on the disk, files by number and numbers by name, and the operations that may be."""

    files: dict[int, bytes]
    names: dict[str, int]
    pending: list[Operation] = field(default_factory=list)

    @classmethod
    def of(cls, start: Files) -> "_Sure":
        names = {name: number for number, name in enumerate(sorted(start))}
        return cls({number: start[name] for name, number in names.items()}, names)

    def advance(self, operation: Operation) -> None:
        """Take in the next operation of the record."""
        match operation.kind:
            case "failed sync":
                # Linux reports such a failure once and forgets the pages: the next sync succeeds without them.
                self.pending = [
                    replace(one, kind="forgotten write") if one.kind == "write" and one.file == operation.file else one
                    for one in self.pending
                ]
            case "sync":
                self._settle(lambda one: one.file == operation.file and one.kind not in FOLDER)
            case "sync folder":
                self._settle(lambda one: one.kind in FOLDER)
            case _:
                self.pending.append(operation)

    def _settle(self, synced: Callable[[Operation], bool]) -> None:
        done = [one for one in self.pending if synced(one)]
        fates = [dropped if one.kind == "forgotten write" else kept for one in done]
        self.files, self.names = _changed(self.files, self.names, done, fates, Random(0))
        self.pending = [one for one in self.pending if not synced(one)]

    def found(self, fates: list[Fate], rng: Random) -> Files:
        """The files, if the pending operations met these *fates*."""
        files, names = _changed(self.files, self.names, self.pending, fates, rng)
        return {name: files.get(number, b"") for name, number in names.items()}


def _changed(
    files: dict[int, bytes],
    names: dict[str, int],
    operations: Collection[Operation],
    fates: Collection[Fate],
    rng: Random,
) -> tuple[dict[int, bytes], dict[str, int]]:
    names, changed = dict(names), {one.file: bytearray(files.get(one.file, b"")) for one in operations}
    for operation, fate in zip(operations, fates, strict=True):
        if (pieces := fate(operation, rng)) is None:
            continue
        content = changed[operation.file]
        match operation.kind:
            case "create":
                names[operation.name] = operation.file
            case "delete":
                names.pop(operation.name, None)
            case "truncate":
                _resize(content, operation.offset)
            case "write" | "forgotten write":
                for offset, piece in pieces:
                    _resize(content, max(len(content), offset + len(piece)))
                    content[offset : offset + len(piece)] = piece
    return files | {number: bytes(content) for number, content in changed.items()}, names


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
