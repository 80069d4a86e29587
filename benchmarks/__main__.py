"""Run the benchmarks: ``python -m benchmarks [--quick] [--json FILE]``."""

import argparse
import json
from pathlib import Path

from benchmarks import deciding, loading
from benchmarks.deciding import contestants, present
from benchmarks.report import as_json, show


def main() -> None:
    """Measure everything, and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few requests and passes, to see that everything runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    arguments = parser.parse_args()
    requests, passes, processes = (100, 2, 2) if arguments.quick else (2_000, 9, 9)
    everyone = contestants()
    rows = [*deciding.rows(everyone, requests, passes), *loading.rows(processes, passes)]
    packages = list(dict.fromkeys(one.package for one in present(everyone) if one.package))
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(rows, packages), indent=2) + "\n")
    show(rows, packages)


if __name__ == "__main__":
    main()
