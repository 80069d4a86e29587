"""The `recovery` command as a process: exit codes, Ctrl-C, pipes, full disks, terminals."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

RECOVERY = [sys.executable, "-m", "recovery_cli"]
ESCAPE = b"\x1b["
OURS = ("PYTHONUNBUFFERED", "NO_COLOR", "FORCE_COLOR", "CI", "RECOVERY_POLICY", "RECOVERY_TRACEBACK")
CLEAN = {name: value for name, value in os.environ.items() if name not in OURS}
FULL = Path("/dev/full")
needs_dev_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def run(*args: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*RECOVERY, *args], input=stdin, capture_output=True, timeout=60, check=False, env=CLEAN | (env or {})
    )


def shell(command: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash in which RECOVERY stands for the command."""
    line = command.replace("RECOVERY", " ".join(RECOVERY))
    return subprocess.run(["bash", *options, "-c", line], capture_output=True, timeout=60, check=False, env=CLEAN)


def started(*args: str, stdout: Any = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """A run that goes on, and that Ctrl-C reaches even where the tests themselves run in the background."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*RECOVERY, *args], stdin=pipe, stdout=stdout, stderr=pipe, env=CLEAN, bufsize=0, preexec_fn=heeding_ctrl_c
    )


def next_line(running: subprocess.Popen[bytes]) -> bytes:
    """The next line that comes out, soon."""
    assert running.stdout is not None
    assert select.select([running.stdout], [], [], 30)[0], "nothing comes out"
    return running.stdout.readline()


def heeding_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def in_a_terminal(*args: str, env: dict[str, str] | None = None) -> bytes:
    """What a person sees: stdout and stderr of a run in an 80 by 24 terminal."""
    outer, inner = pty.openpty()
    size = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen([*RECOVERY, *args], stdin=inner, stdout=inner, stderr=inner, env=CLEAN | size | (env or {})):
        os.close(inner)
        seen = b"".join(_until_closed(outer))
    os.close(outer)
    return seen


def test_a_terminal_that_rows_are_awaited_from_is_told_so() -> None:
    outer, inner = pty.openpty()
    with subprocess.Popen(
        [*RECOVERY, "decide", "--role", "frontline"], stdin=inner, stderr=inner, env=CLEAN
    ) as waiting:
        os.close(inner)
        seen = b""
        while b"name it" not in seen:
            assert select.select([outer], [], [], 30)[0], "nothing is said"
            seen += os.read(outer, 4096)
        waiting.kill()
    os.close(outer)
    assert b"Ctrl-D" in seen


def _until_closed(terminal: int) -> Iterator[bytes]:
    with suppress(OSError):  # Linux says EIO when the other side is gone
        while chunk := os.read(terminal, 65536):
            yield chunk


def many_rows(number: int) -> bytes:
    return b"amount,note\n" + b"".join(b"%d,row %d\n" % (row % 700 + 1, row) for row in range(number))


@pytest.fixture
def requests(tmp_path: Path) -> str:
    path = tmp_path / "requests.csv"
    path.write_bytes(many_rows(200_000))
    return str(path)


# --- exit codes ---


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["what-if", "--role", "frontline", "--amount", "5"], 0),
        (["what-if", "--role", "nobody", "--amount", "5"], 2),
        (["what-if", "--no-such-flag"], 2),
        (["no-such-verb"], 2),
        (["check", "no-such-file.yaml"], 2),
        (["check", "classic"], 0),
    ],
)
def test_the_exit_code_says_how_it_went(args: list[str], code: int) -> None:
    ended = run(*args)
    assert ended.returncode == code
    assert b"Traceback" not in ended.stderr


def test_a_fault_of_ours_is_one_line_and_a_traceback_only_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import recovery_engine\nrecovery_engine.decide = lambda *_: 1 / 0\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    args = ("what-if", "--role", "frontline", "--amount", "5")
    ended = run(*args, env={"PYTHONPATH": path})
    assert ended.returncode == 3
    assert b"ZeroDivisionError" in ended.stderr
    assert b"report" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert b"Traceback" in run("--traceback", *args, env={"PYTHONPATH": path}).stderr
    assert b"Traceback" in run(*args, env={"PYTHONPATH": path, "RECOVERY_TRACEBACK": "1"}).stderr


def test_help_imports_nothing_of_the_library() -> None:
    code = """if True:
        import sys
        from recovery_cli.main import main
        sys.argv = ["recovery", "--help"]
        try:
            main()
        except SystemExit:
            heavy = {"recovery_engine", "pydantic", "babel", "sqlmodel", "yaml"}
            print(sorted(heavy & set(sys.modules)), file=sys.stderr)
    """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert ended.stderr.strip() == b"[]"


# --- stopped in the middle ---


def whole_lines(text: bytes) -> bool:
    lines = text.split(b"\n")
    return lines[-1] == b"" and all(line.count(b",") >= 9 for line in lines[:-1])


def parts_of(output: Path) -> list[Path]:
    return list(output.parent.glob(f"{output.name}.*.partial"))


def stopped_after(args: list[str], output: Path) -> tuple[int, bytes]:
    """Run, wait until something is written, press Ctrl-C; the exit code and stderr."""
    with output.open("wb") as file, started(*args, stdout=file) as running:
        deadline = time.monotonic() + 30
        while not any(path.stat().st_size > 50_000 for path in [output, *parts_of(Path(args[-1]))]):
            assert running.poll() is None, "it ended too early"
            assert time.monotonic() < deadline, "it wrote nothing"
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    return running.returncode, said


def test_ctrl_c_leaves_whole_lines_and_says_how_many(requests: str, tmp_path: Path) -> None:
    output = tmp_path / "stdout.csv"
    code, said = stopped_after(["decide", "--role", "frontline", requests], output)
    assert code == 130
    assert whole_lines(output.read_bytes())
    assert b"stopped;" in said
    assert b"Traceback" not in said
    told = int(re.search(rb"stopped; ([\d,]+) rows", said)[1].replace(b",", b""))  # type: ignore[index]
    assert told == len(output.read_bytes().splitlines()) - 1


def test_ctrl_c_leaves_the_file_that_was_there_and_names_the_part(requests: str, tmp_path: Path) -> None:
    named = tmp_path / "out.csv"
    named.write_bytes(b"precious\n")
    args = ["decide", "--role", "frontline", requests, "--output", str(named)]
    code, said = stopped_after(args, tmp_path / "stdout")
    assert code == 130
    assert named.read_bytes() == b"precious\n"
    [part] = parts_of(named)
    assert part.name.encode() in said
    assert whole_lines(part.read_bytes())


def test_ctrl_c_while_waiting_for_input() -> None:
    with started("decide", "--role", "frontline") as running:
        assert running.stdin is not None
        running.stdin.write(b"amount\n5\n6\n")
        running.stdin.flush()
        assert next_line(running).startswith(b"amount,outcome")
        assert next_line(running).startswith(b"5,approve")
        assert next_line(running).startswith(b"6,approve")
        running.send_signal(signal.SIGINT)
        rest, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert rest == b""
    assert b"2 rows" in said


def test_ctrl_c_while_another_verb_waits() -> None:
    with started("what-if", "--json-file", "-") as running:
        time.sleep(2)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert b"Traceback" not in said


def test_a_background_run_that_is_to_ignore_ctrl_c_goes_on() -> None:
    waiting = "(sleep 3; echo amount; echo 5) | RECOVERY decide --role frontline & sleep 2"
    ended = shell(f"trap '' INT; {waiting}; kill -INT $!; wait $!")
    assert ended.returncode == 0
    assert b"approve" in ended.stdout


def test_answers_come_out_row_by_row() -> None:
    with started("decide", "--role", "frontline") as running:
        assert running.stdin is not None
        for row in (b'{"amount": "5"}\n', b'{"amount": "600"}\n'):
            running.stdin.write(row)
            running.stdin.flush()
            assert next_line(running).startswith(row.rstrip(b"}\n"))
        running.stdin.close()


def test_a_reader_that_goes_away_is_no_error(requests: str) -> None:
    ended = shell(f"RECOVERY decide --role frontline {requests} | head -2", "-o", "pipefail")
    assert len(ended.stdout.splitlines()) == 2
    assert b"Traceback" not in ended.stderr
    assert b"Broken" not in ended.stderr
    assert b"Exception ignored" not in ended.stderr
    assert ended.returncode == 141


@pytest.mark.parametrize("args", ["policies", "--help", "matrix --json", "demo"])
def test_a_reader_that_was_never_there_is_no_error(args: str) -> None:
    ended = shell(f"RECOVERY {args} | true")
    assert ended.stderr == b""


@needs_dev_full
@pytest.mark.parametrize("args", ["decide --role frontline", "policies", "matrix --json", "--help", "demo"])
def test_a_full_disk_is_said_in_one_line(args: str) -> None:
    ended = shell(f"printf 'amount\\n5\\n' | RECOVERY {args} > {FULL}")
    assert ended.returncode == 3
    assert b"no space left on device" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert b"Exception ignored" not in ended.stderr


@needs_dev_full
@pytest.mark.parametrize(
    "args", [["decide", "--role", "frontline", "--output"], ["matrix", "--html"], ["schema", "--output"]]
)
def test_a_full_disk_behind_an_output_file(args: list[str]) -> None:
    ended = run(*args, str(FULL), stdin=many_rows(3))
    assert ended.returncode == 3
    assert b"no space left on device" in ended.stderr


def test_closed_streams_are_no_fault() -> None:
    for closed in (">&-", "2>&-", "<&-", ">&- 2>&-"):
        ended = shell(f"RECOVERY policies {closed}")
        assert (closed, ended.returncode) == (closed, 0)


def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    peak = """if True:
        import resource, sys
        from recovery_cli.main import cli
        cli.main(sys.argv[1:], standalone_mode=False)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    sizes = []
    for number in (1_000, 20_000):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(many_rows(number))
        args = ["decide", str(path), "--role", "frontline", "--output", str(tmp_path / "out.csv")]
        ended = subprocess.run([sys.executable, "-c", peak, *args], capture_output=True, timeout=120, check=True)
        sizes.append(int(ended.stdout.split()[-1]))
    assert sizes[1] < sizes[0] * 1.3


# --- terminals ---


def test_colours_are_for_terminals_only() -> None:
    args = ("what-if", "--role", "frontline", "--amount", "150")
    assert ESCAPE in in_a_terminal(*args)
    assert ESCAPE not in run(*args).stdout


@pytest.mark.parametrize(
    "args", [("what-if", "--role", "frontline", "--amount", "150"), ("--help",), ("check", "x"), ("what-if", "-x")]
)
def test_no_color_means_none(args: tuple[str, ...]) -> None:
    assert ESCAPE not in in_a_terminal(*args, env={"NO_COLOR": "1"})


def test_the_answer_of_what_if_fits_an_80_by_24_terminal() -> None:
    args = "what-if --policy hotel --role front_desk --remedy comp_item --amount 45 --severity minor --note x".split()
    seen = re.sub(rb"\x1b\[[0-9;]*m", b"", in_a_terminal(*args)).decode().splitlines()
    assert any("ESCALATE" in line for line in seen), seen
    assert len(seen) <= 24
    assert max(len(line.rstrip()) for line in seen) <= 80


def test_a_bar_is_shown_to_people_only(tmp_path: Path) -> None:
    requests = tmp_path / "requests.csv"
    requests.write_bytes(many_rows(2_000))
    args = ("decide", "--role", "frontline", "--output", str(tmp_path / "out.csv"), str(requests))
    assert b"deciding" in in_a_terminal(*args)
    assert b"deciding" not in in_a_terminal("decide", "--role", "frontline", str(requests))
    assert b"deciding" not in run(*args).stderr


def test_a_terminal_without_the_letters_shows_their_numbers() -> None:
    ended = run("matrix", "--policy", "hotel", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert ended.returncode == 0
    assert b"\\u20ac30.00" in ended.stdout


# --- completion ---


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("recovery wh", b"what-if"),
        ("recovery what-if --pol", b"--policy"),
        ("recovery what-if --policy hot", b"hotel"),
        ("recovery what-if --policy hotel --role f", b"front_desk"),
        ("recovery what-if --policy hotel --fact kn", b"knows_guest="),
        ("recovery what-if --policy hotel --used g", b"guest-year="),
        ("recovery decide --policy hotel --remedy v", b"voucher"),
    ],
)
def test_the_words_of_the_policy_are_completed(words: str, expected: bytes) -> None:
    env = {"_RECOVERY_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert expected in run(env=env).stdout


def test_completion_of_a_broken_policy_stays_silent() -> None:
    words = "recovery what-if --policy gone.yaml --role f"
    ended = run(env={"_RECOVERY_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "5"})
    assert ended.stdout.strip() == b""
    assert ended.stderr == b""
