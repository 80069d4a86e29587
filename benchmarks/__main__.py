"""Run the benchmarks: ``python -m benchmarks [--quick] [--json FILE]``."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks import analysing, deciding, folding, loading, proving, recording, warehouse
from benchmarks.deciding import contestants, present
from benchmarks.raw_logs import file_system, sqlite3
from benchmarks.report import as_json, show


class Size(NamedTuple):
    """How much is measured."""

    requests: int
    passes: int
    processes: int
    recoveries: int
    log_passes: int
    entries: int
    proving_passes: int
    folded: int
    folding_passes: int
    in_a_warehouse: int


QUICK = Size(
    100,
    2,
    2,
    recoveries=80,
    log_passes=1,
    entries=2_000,
    proving_passes=1,
    folded=20_000,
    folding_passes=1,
    in_a_warehouse=0,  # starting one takes longer than all the rest
)
WHOLE = Size(
    *(2_000, 9, 9),
    recoveries=2_000,
    log_passes=7,
    entries=200_000,
    proving_passes=3,
    folded=10_000_000,
    folding_passes=3,
    in_a_warehouse=1_000_000,
)
IN_MEMORY = ("tmpfs", "ramfs")


def main() -> None:
    """Measure everything, and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few requests and passes, to see that everything runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="a folder on the disk that logs are written to"
    )
    parser.add_argument("--entries", type=int, metavar="N", help="prove a log of N recoveries (200,000 unless --quick)")
    arguments = parser.parse_args()
    if not arguments.quick and file_system(arguments.folder) in IN_MEMORY:
        parser.error(f"`{arguments.folder}` is in memory: name a --folder on a disk")
    size = QUICK if arguments.quick else WHOLE
    everyone = contestants()
    rows = [*deciding.rows(everyone, size.requests, size.passes), *loading.rows(size.processes, size.passes)]
    rows += analysing.rows(size.proving_passes)
    of_the_log = [
        *recording.rows(arguments.folder, size.recoveries, size.log_passes),
        *proving.rows(arguments.folder, arguments.entries or size.entries, size.proving_passes),
        *folding.rows(size.folded, size.folding_passes),
        *(warehouse.rows(size.in_a_warehouse, size.folding_passes) if size.in_a_warehouse else []),
    ]
    packages = list(dict.fromkeys(one.package for one in present(everyone) if one.package))
    packages += [f"SQLite {sqlite3.sqlite_version}"]
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json([*rows, *of_the_log], packages), indent=2) + "\n")
    show(rows, of_the_log, packages)


if __name__ == "__main__":
    main()
