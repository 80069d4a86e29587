"""The set-based back-test in a warehouse: Spark, asked through ibis, beside DuckDB.

Both read one Parquet file and a table of cells that the policy itself has decided, and must say the same to every row.
Left out where ibis or Spark is not installed.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from os import environ
from pathlib import Path
from shutil import which
from time import perf_counter
from typing import Any

import duckdb

from benchmarks.backtesting import make
from benchmarks.contestants import POLICY_FILE
from benchmarks.report import PER_SECOND, Row
from recovery_engine import load_policy
from recovery_engine.history.cells import always, decide_cells

SECTION = "a back-test in a warehouse: {:,} requests, each a case of its own"
CURE = "not installed: pip install 'ibis-framework[pyspark]' pyspark, and Java 17"
ANSWER = ("outcome", "to_rank", "second_rank", "needs")


def rows(count: int, passes: int) -> Iterator[Row]:
    """Spark and DuckDB over the same history. Raises AssertionError where they differ in any row."""
    section = SECTION.format(count)
    if not (find_spec("ibis") and find_spec("pyspark") and (which("java") or "JAVA_HOME" in environ)):
        yield Row(section, "Spark, through ibis", None, PER_SECOND, remark=CURE)
        return
    with tempfile.TemporaryDirectory() as folder, closing(duckdb.connect()) as connection:
        make(connection, count)
        number = decide_cells(connection, always(load_policy(POLICY_FILE)), "cells")
        for table in ("history", "cells"):
            connection.execute(f"COPY {table} TO '{folder}/{table}.parquet'; DROP TABLE {table}")
            connection.execute(f"CREATE VIEW {table} AS FROM '{folder}/{table}.parquet'")
        joined = f"FROM history JOIN cells ON cells.cell = {number}"
        said = f"SELECT {', '.join(ANSWER)}, count(*) AS requests {joined} GROUP BY ALL"
        here = _median(lambda: connection.execute(said).fetchall(), passes)
        with _spark(folder) as spark:
            answers = in_ibis(spark, number)
            counted = answers.group_by(ANSWER).agg(requests=answers.count())
            there = _median(counted.to_pyarrow, passes)
            spark.to_parquet_dir(answers, f"{folder}/answers")
        ours = f"SELECT n, {', '.join(ANSWER)} {joined}"
        theirs = f"SELECT n, {', '.join(ANSWER)} FROM '{folder}/answers/*.parquet'"
        (same,) = connection.execute(f"SELECT count(*) FROM (({ours}) INTERSECT ({theirs}))").fetchone()
        (all_of_them,) = connection.execute(f"SELECT count(*) FROM ({theirs})").fetchone()
    assert same == all_of_them == count, f"{count - same:,} of {count:,} rows are answered otherwise by Spark"
    yield Row(section, "DuckDB", 1e6 * here / count, PER_SECOND, x_raw=1.0)
    remark = f"the same answers to all {count:,} rows"
    yield Row(section, "Spark, through ibis", 1e6 * there / count, PER_SECOND, x_raw=there / here, remark=remark)


def in_ibis(warehouse: Any, number: str) -> Any:
    """The answer to each row of ``history``, from the table ``cells``; *number* is the cell as DuckDB says it."""
    cells = warehouse.table("cells")
    numbered = warehouse.sql(f"SELECT n, {number} AS cell FROM history", dialect="duckdb")
    return numbered.join(cells, "cell").select("n", *ANSWER)


@contextmanager
def _spark(folder: str) -> Iterator[Any]:
    """Spark on this machine alone, which knows the two files as tables."""
    import ibis
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[*]").appName("back-test")
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.warehouse.dir": f"{folder}/warehouse",
        "spark.log.level": "ERROR",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    warehouse = ibis.pyspark.connect(session)
    for table in ("history", "cells"):
        session.read.parquet(str(Path(folder, f"{table}.parquet"))).createOrReplaceTempView(table)
    try:
        yield warehouse
    finally:
        session.stop()


def _median(run: Callable[[], Any], passes: int) -> float:
    """How many seconds it takes, after one pass that does not count."""
    run()
    taken = []
    for _ in range(passes):
        start = perf_counter()
        run()
        taken.append(perf_counter() - start)
    return statistics.median(taken)
