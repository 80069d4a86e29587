"""The tests of the log with large counts; writes docs/TESTING.md with what they counted.

`python tests/torture.py [scale [seed]]`: every count is multiplied by the scale, 20 unless told; at 20 the day on which
tills are killed has its ten thousand requests. The seed, 1 unless told, gives other days and other lives of the model.
"""

import os
import platform
import sqlite3
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pysqlite3
from databases import shared_server
from engines import rows

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs/TESTING.md"
BEGINS, ENDS = "<!-- counted: begins -->", "<!-- counted: ends -->"

TORTURED = """
test_power_loss test_store_faults test_kill test_overspend test_group_commit test_engine_model
test_workflow_model test_approvals_at_once test_same_bytes test_verify test_tampering test_merkle test_notes
""".split()
LONGEST_S = 1_800
"""What is slower than this shows where it stands; a test that hangs is seen so."""


def main(scale: int = 20, seed: int = 1) -> int:
    """Run, and write what was counted; nothing is written where a test failed."""
    files = [ROOT / f"tests/{name}.py" for name in TORTURED]
    seeds = {"RECOVERY_TEST_SCALE": str(scale), "RECOVERY_TEST_SEED": str(seed)}
    with TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        began = time.monotonic()
        run = [sys.executable, "-m", "pytest", "-q", "--numprocesses=auto", "--maxprocesses=8", "--dist=worksteal"]
        run += ["-o", "junit_family=xunit1", "-o", f"faulthandler_timeout={LONGEST_S}", f"--junitxml={results}"]
        ended = subprocess.run([*run, *map(str, files)], cwd=ROOT, env={**os.environ, **seeds}, check=False)
        seconds = time.monotonic() - began
        if ended.returncode:
            again = " ".join(f"{name}={value}" for name, value in seeds.items())
            print(f"{REPORT} is left as it was. The same again: {again} python -m pytest tests/test_...")
            return ended.returncode
        suite = ET.parse(results).getroot()
    counted: dict[str, list[str]] = {}
    for found in suite.iter("property"):
        counted.setdefault(str(found.get("name")), []).append(str(found.get("value")))
    tests, skipped = (len(list(suite.iter(kind))) for kind in ("testcase", "skipped"))
    heading = (
        f"{date.today()}, `make torture SCALE={scale} SEED={seed}`: {tests:,} tests, {skipped} skipped, "
        f"{seconds / 60:.0f} minutes on {os.cpu_count()} cores. {', '.join(versions())}."
    )
    write(heading, counted)
    return 0


def versions() -> list[str]:
    """What was tested with what."""
    names = "recovery-engine", "pytest", "hypothesis", "apsw", "pysqlite3", "psycopg", "pymerkle", "rfc8785"
    with TemporaryDirectory() as meeting, shared_server(Path(meeting)) as server:
        ((postgres,),) = rows(server.url(), "SHOW server_version")
    return [
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        f"PostgreSQL {postgres}",
        f"SQLite {pysqlite3.sqlite_version} (pysqlite3), {apsw.sqlite_lib_version()} (apsw), "
        f"{sqlite3.sqlite_version} (Python's own)",
        *(f"{name} {version(name)}" for name in names),
    ]


def write(heading: str, counted: dict[str, list[str]]) -> None:
    """Put what was counted into the document, between its two marks."""
    lines = [heading, "", "| what | counted |", "|---|---|"]
    for name, texts in sorted(counted.items()):
        lines += [f"| {name} | {text.replace('|', '/')} |" for text in sorted(texts)]
    text = REPORT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    body = "\n".join(lines)
    REPORT.write_text(f"{before}{BEGINS}\n{body}\n{ENDS}{after}", encoding="utf-8")
    print(body)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
