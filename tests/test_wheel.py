"""What `pip install recovery-engine` brings: two packages, the starter policies, and nothing else."""

import configparser
import email
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    run = subprocess.run(build, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    [path] = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def files(wheel: zipfile.ZipFile) -> set[str]:
    return set(wheel.namelist())


def of_distribution(wheel: zipfile.ZipFile, name: str) -> str:
    return wheel.read(f"recovery_engine-{version(wheel)}.dist-info/{name}").decode()


def version(wheel: zipfile.ZipFile) -> str:
    return Path(str(wheel.filename)).name.split("-")[1]


def metadata(wheel: zipfile.ZipFile) -> Message:
    return email.message_from_string(of_distribution(wheel, "METADATA"))


def test_it_holds_exactly_two_packages(wheel: zipfile.ZipFile, files: set[str]) -> None:
    top = {PurePosixPath(name).parts[0] for name in files}
    assert top == {"recovery_engine", "recovery_cli", f"recovery_engine-{version(wheel)}.dist-info"}


def test_every_module_is_in_it(files: set[str]) -> None:
    for folder in (ROOT / "recovery_engine", ROOT / "cli/recovery_cli"):
        modules = {path.relative_to(folder.parent).as_posix() for path in folder.rglob("*.py")}
        assert modules, f"no modules in {folder.name}"
        assert modules <= files


def test_the_policies_travel_inside_the_library(files: set[str]) -> None:
    written = {path.relative_to(ROOT).as_posix() for path in (ROOT / "policies").rglob("*.yaml")}
    packed = {name for name in files if name.endswith(".yaml")}
    assert written, "no starter policies"
    assert packed == {f"recovery_engine/{name}" for name in written}


def test_the_look_of_pages_travels_with_what_writes_them(files: set[str]) -> None:
    assert "recovery_cli/pages/style.css" in files


@pytest.mark.parametrize("package", ["recovery_engine", "recovery_cli"])
def test_it_tells_type_checkers_that_it_is_typed(files: set[str], package: str) -> None:
    assert f"{package}/py.typed" in files


def test_no_tests_and_no_benchmarks_are_in_it(files: set[str]) -> None:
    strangers = {"tests", "benchmarks", "docs", "conftest.py", "__pycache__"}
    assert [name for name in sorted(files) if strangers & set(PurePosixPath(name).parts)] == []


def test_it_installs_the_recovery_command(wheel: zipfile.ZipFile) -> None:
    entry_points = configparser.ConfigParser()
    entry_points.read_string(of_distribution(wheel, "entry_points.txt"))
    assert {section: dict(entry_points[section]) for section in entry_points.sections()} == {
        "console_scripts": {"recovery": "recovery_cli.main:main"}
    }


def test_it_states_its_license_and_its_python_versions(wheel: zipfile.ZipFile, files: set[str]) -> None:
    said = metadata(wheel)
    assert said["Name"] == "recovery-engine"
    assert said["License-Expression"] == "Apache-2.0"
    assert set(said["Requires-Python"].split(",")) == {">=3.11", "<3.14"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in files)
