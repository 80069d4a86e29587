"""What tests are given: databases. And what they counted, printed at the end of a run."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import Server, fresh_database, shared_server
from proxy import Proxy


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
def postgres_proxy(postgres_server: Server) -> Iterator[Proxy]:
    """A way into the server that can be cut; `postgres_proxy.url(database_name(postgres_url))` leads through it."""
    with Proxy(postgres_server.socket) as proxy:
        yield proxy


@pytest.fixture(params=["sqlite", "postgresql"])
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn, that is this test's alone."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'recovery.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


def pytest_terminal_summary(terminalreporter: Any) -> None:
    counted = [
        text
        for report in terminalreporter.stats.get("passed", [])
        for name, text in report.user_properties
        if name == "cells" and report.when == "call"
    ]
    if counted:
        terminalreporter.section("cells on which the two matchers agree")
        terminalreporter.write_line("\n".join(sorted(counted)))
