"""What comes with an extra: the libraries that a back-test is made of, or how to get them."""

from typing import TYPE_CHECKING, Any

from recovery_engine.errors import LogError

if TYPE_CHECKING:
    import duckdb

CURE = "pip install 'recovery-engine[whatif]'"


def duckdb_module() -> Any:
    """DuckDB. Raises LogError with the cure where it is not installed."""
    try:
        import duckdb
    except ImportError:
        raise LogError("a back-test needs duckdb", CURE) from None
    return duckdb


def connected(folder: str, memory: str = "1000MB", threads: int = 0) -> "duckdb.DuckDBPyConnection":
    """A database of its own in *folder*, which also takes what does not fit into memory."""
    config: dict[str, Any] = {"temp_directory": folder, "memory_limit": memory}
    if threads:
        config["threads"] = threads
    connection: duckdb.DuckDBPyConnection = duckdb_module().connect(f"{folder}/history.duckdb", config=config)
    return connection
