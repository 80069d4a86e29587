"""What tests are given: databases. And what they counted, printed at the end of a run."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from databases import Server, fresh_database, postgres_admin, quick_place, shared_server
from engines import Clock, assert_whole, opened
from proxy import Proxy

from recovery_engine import RecoveryEngine


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real PostgreSQL, one for all processes of the run."""
    own = tmp_path_factory.getbasetemp()
    with shared_server(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """The URL of an empty PostgreSQL database that is this test's alone."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def places(postgres_server: Server) -> Iterator[Any]:
    """Empty PostgreSQL databases, as schemas of one."""
    numbers = count()
    with fresh_database(postgres_server) as url:

        def place(folder: str) -> str:
            schema = f"life_{next(numbers)}"
            with postgres_admin(url) as admin:
                admin.execute(f"CREATE SCHEMA {schema}")
            return f"{url}&options=-csearch_path%3D{schema}"

        yield place


@pytest.fixture
def postgres_proxy(postgres_server: Server) -> Iterator[Proxy]:
    """A way into the server that can be cut; `postgres_proxy.url(database_name(postgres_url))` leads through it."""
    with Proxy(postgres_server.socket) as proxy:
        yield proxy


@pytest.fixture(params=["sqlite", "postgresql"])
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of each kind in turn, that is this test's alone."""
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres_url")
        return
    with TemporaryDirectory(prefix="recovery-", dir=quick_place() or tmp_path) as folder:
        yield f"sqlite:///{folder}/recovery.db"


@pytest.fixture
def clock() -> Clock:
    """A clock that is set by hand."""
    return Clock()


@pytest.fixture
def with_policy(log_url: str, clock: Clock) -> Iterator[Any]:
    """Opens an engine with another policy; the log is checked when the test is over."""
    engines: list[RecoveryEngine] = []

    def open_with(*policies: str) -> RecoveryEngine:
        engines.append(opened(log_url, *policies, clock=clock, seed=len(engines)))
        return engines[-1]

    yield open_with
    for engine in engines:
        engine.close()
    assert_whole(log_url)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests counted, by what it is: cells, states after a power cut, alterations, ..."""
    counted: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, text in report.user_properties if report.when == "call" else ():
            counted.setdefault(name, []).append(text)
    if counted:
        terminalreporter.section("counted")
        for name, texts in sorted(counted.items()):
            terminalreporter.write_line("\n  ".join([name, *sorted(texts)]))
