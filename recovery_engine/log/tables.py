"""The tables of the log, in a registry of their own, so that a host's tables and ours never meet."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, Text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import registry
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import Field, SQLModel

SCHEMA_VERSION = 3
"""Raised when a released table changes. The entries themselves never change."""

_TEXT = Text().with_variant(Text(collation="C"), "postgresql")  # keys sort by their bytes on every database
_INTEGER = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
_BYTES = LargeBinary().with_variant(postgresql.BYTEA(), "postgresql")

_STRICT = {"sqlite_strict": True}
_BY_KEY = {"sqlite_strict": True, "sqlite_with_rowid": False}


def _text(**kw: Any) -> Any:
    return Field(sa_column=Column(_TEXT, **kw))


def _number(**kw: Any) -> Any:
    return Field(sa_column=Column(_INTEGER, **kw))


def _bytes(**kw: Any) -> Any:
    return Field(sa_column=Column(_BYTES, **kw))


class Table(SQLModel, registry=registry(metadata=MetaData())):
    """What all tables of the log share: a registry that is not the host's."""


class SchemaRow(Table, table=True):
    """One row: the version of these tables, and the engine that made them."""

    __tablename__ = "recovery_schema"
    __table_args__ = _STRICT
    version: int = _number(primary_key=True, autoincrement=False)
    engine: str = _text(nullable=False)


class LogRow(Table, table=True):
    """An entry: its canonical bytes. Everything else in the row can be worked out from them and the entries before.

    ``continues`` is the recovery that the entry is a later step of; ``root`` is that of the tree that ends with it.
    """

    __tablename__ = "recovery_log"
    stream: str = _text(primary_key=True)
    seq: int = _number(primary_key=True, autoincrement=False)
    request_id: str = _text(nullable=False, unique=True)
    kind: str = _text(nullable=False)
    at_us: int = _number(nullable=False)
    continues: str | None = _text(nullable=True)
    body: bytes = _bytes(nullable=False)
    leaf: bytes = _bytes(nullable=False)
    root: bytes = _bytes(nullable=False)
    __table_args__ = (_STRICT,)


class StreamRow(Table, table=True):
    """The head of a stream: how many entries, the roots of its perfect subtrees, the last leaf and its time."""

    __tablename__ = "recovery_stream"
    __table_args__ = _BY_KEY
    stream: str = _text(primary_key=True)
    size: int = _number(nullable=False)
    frontier: bytes = _bytes(nullable=False)
    last_leaf: bytes = _bytes(nullable=False)
    last_at_us: int = _number(nullable=False)


class PolicyRow(Table, table=True):
    """A policy as it was loaded: its digest, the digest of its file, and both texts. Days are ISO, both included."""

    __tablename__ = "recovery_policy"
    __table_args__ = _STRICT
    digest: str = _text(primary_key=True)
    source: str = _text(primary_key=True)
    name: str = _text(nullable=False)
    label: str = _text(nullable=False)
    first_day: str = _text(nullable=False)
    last_day: str | None = _text(nullable=True)
    replaces: str | None = _text(nullable=True)
    seq: int = _number(nullable=False)
    at_us: int = _number(nullable=False)
    canonical: str = _text(nullable=False)
    yaml: str = _text(nullable=False)


class StateRow(Table, table=True):
    """Where a recovery stands, and what an auditor filters by. Amounts are minor units, times UTC microseconds."""

    __tablename__ = "recovery_state"
    recovery: str = _text(primary_key=True)
    stream: str = _text(nullable=False)
    seq: int = _number(nullable=False)
    at_us: int = _number(nullable=False)
    bday: str = _text(nullable=False)
    utc_offset_s: int = _number(nullable=False)
    employee: str = _text(nullable=False)
    role: str = _text(nullable=False)
    site: str = _text(nullable=False)
    case_id: str = _text(nullable=False)
    receipt: str | None = _text(nullable=True)
    customer: str | None = _text(nullable=True)
    remedy: str = _text(nullable=False)
    category: str | None = _text(nullable=True)
    severity: str | None = _text(nullable=True)
    reason: str | None = _text(nullable=True)
    basis: str = _text(nullable=False)
    currency: str = _text(nullable=False)
    asked_minor: int = _number(nullable=False)
    bill_minor: int | None = _number(nullable=True)
    occurred_on: str | None = _text(nullable=True)
    outcome: str = _text(nullable=False)
    status: str = _text(nullable=False)
    to_role: str | None = _text(nullable=True)
    second_role: str | None = _text(nullable=True)
    due_us: int | None = _number(nullable=True)
    policy: str = _text(nullable=False)
    matcher: str = _text(nullable=False)
    approver: str | None = _text(nullable=True)
    approver_role: str | None = _text(nullable=True)
    granted_us: int | None = _number(nullable=True)
    granted_bday: str | None = _text(nullable=True)
    granted_remedy: str | None = _text(nullable=True)
    granted_minor: int | None = _number(nullable=True)
    fulfilled_us: int | None = _number(nullable=True)
    reference: str | None = _text(nullable=True)
    closed_us: int | None = _number(nullable=True)
    closed_by: str | None = _text(nullable=True)
    closed_reason: str | None = _text(nullable=True)
    on_behalf: str | None = _text(nullable=True)
    second_by: str | None = _text(nullable=True)
    agreed_remedy: str | None = _text(nullable=True)
    agreed_minor: int | None = _number(nullable=True)
    question_us: int | None = _number(nullable=True)
    questions: int = _number(nullable=False)
    moves: int = _number(nullable=False)
    __table_args__ = (
        Index("recovery_state_status", "status", "due_us"),  # what is pending, what is promised
        Index("recovery_state_case", "case_id"),
        Index("recovery_state_receipt", "receipt"),
        Index("recovery_state_customer", "customer"),  # whom to forget
        Index("recovery_state_day", "bday", "at_us", "recovery"),  # the order in which recoveries are listed
        _STRICT,
    )


class LineRow(Table, table=True):
    """A line of the policy that decided a recovery."""

    __tablename__ = "recovery_line"
    __table_args__ = _BY_KEY
    recovery: str = _text(primary_key=True)
    line: str = _text(primary_key=True)


class UsageRow(Table, table=True):
    """What counts against limits: sums by subject, business day, remedy, basis and currency. Never all zero."""

    __tablename__ = "recovery_usage"
    __table_args__ = _BY_KEY
    subject: str = _text(primary_key=True)
    bday: str = _text(primary_key=True)
    remedy: str = _text(primary_key=True)
    basis: str = _text(primary_key=True)
    currency: str = _text(primary_key=True)
    amount_minor: int = _number(nullable=False)
    times: int = _number(nullable=False)


class SubjectLockRow(Table, table=True):
    """What is locked before usage is read; ``ver`` counts the entries that touched the subject. Never deleted."""

    __tablename__ = "recovery_subject_lock"
    __table_args__ = _BY_KEY
    subject: str = _text(primary_key=True)
    ver: int = _number(nullable=False)


class DelegationRow(Table, table=True):
    """Authority lent. Lists are joined by line ends, none named: all; UTC microseconds, ``until_us`` not included."""

    __tablename__ = "recovery_delegation"
    __table_args__ = _BY_KEY
    delegation: str = _text(primary_key=True)
    by_employee: str = _text(nullable=False)
    to_employee: str = _text(nullable=False)
    role: str = _text(nullable=False)
    sites: str = _text(nullable=False)
    remedies: str = _text(nullable=False)
    cap_minor: int | None = _number(nullable=True)
    currency: str | None = _text(nullable=True)
    from_us: int = _number(nullable=False)
    until_us: int = _number(nullable=False)
    revoked_us: int | None = _number(nullable=True)


class CheckpointRow(Table, table=True):
    """A signed note about a stream at a size."""

    __tablename__ = "recovery_checkpoint"
    __table_args__ = _BY_KEY
    stream: str = _text(primary_key=True)
    size: int = _number(primary_key=True, autoincrement=False)
    root: bytes = _bytes(nullable=False)
    note: str = _text(nullable=False)


class SubjectRow(Table, table=True):
    """The only link between the token that stands for a customer in entries and the host's reference."""

    __tablename__ = "recovery_subject"
    __table_args__ = _BY_KEY
    token: str = _text(primary_key=True)
    reference: str = _text(nullable=False, unique=True)


class PersonalRow(Table, table=True):
    """What a commitment in an entry opens to: 32 random bytes of salt, and the text."""

    __tablename__ = "recovery_personal"
    __table_args__ = _BY_KEY
    recovery: str = _text(primary_key=True)
    field: str = _text(primary_key=True)
    salt: bytes = _bytes(nullable=False)
    value: str = _text(nullable=False)


metadata = Table.metadata
"""Every table of the log and nothing else."""

PROJECTIONS = (
    "recovery_stream",
    "recovery_state",
    "recovery_line",
    "recovery_usage",
    "recovery_subject_lock",
    "recovery_delegation",
)
"""The tables that follow from the entries alone."""


def include_object(obj: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """For Alembic's ``include_object``: leaves the tables, indexes and views of the log alone."""
    return not (name or "").startswith("recovery_")


def statements(dialect: str) -> Iterator[str]:
    """The statements that make the tables, indexes and guard-rails; *dialect* is ``sqlite`` or ``postgresql``."""
    for table in metadata.sorted_tables:
        yield from table_statements(table.name, dialect)
    continues = "CREATE INDEX recovery_log_continues ON recovery_log (continues) WHERE continues IS NOT NULL"
    yield continues
    yield from _SQLITE_GUARDS if dialect == "sqlite" else _POSTGRESQL_GUARDS


def table_statements(name: str, dialect: str) -> Iterator[str]:
    """The statements that make one table and its indexes."""
    target: Any = sqlite if dialect == "sqlite" else postgresql
    table = metadata.tables[name]
    yield str(CreateTable(table).compile(dialect=target.dialect())).strip()
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        yield str(CreateIndex(index).compile(dialect=target.dialect()))


# --- guard-rails against bugs; they do not stop an attacker, `recovery log verify` finds what he did ------------------

_KEPT = ("recovery_log", "recovery_policy", "recovery_checkpoint")

_SQLITE_GUARDS = (
    *(
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is never changed'); END"
        for table in _KEPT
        for verb in ("UPDATE", "DELETE")
    ),
    """CREATE TRIGGER recovery_log_append BEFORE INSERT ON recovery_log BEGIN
  SELECT RAISE(ABORT, 'recovery_log: seq is not the next of its stream')
   WHERE NEW.seq IS NOT (SELECT coalesce(max(seq) + 1, 0) FROM recovery_log WHERE stream = NEW.stream);
  SELECT RAISE(ABORT, 'UNIQUE constraint failed: recovery_log.request_id')
   WHERE EXISTS (SELECT 1 FROM recovery_log WHERE request_id = NEW.request_id OR rowid = NEW.rowid);
END""",
    """CREATE TRIGGER recovery_policy_append BEFORE INSERT ON recovery_policy BEGIN
  SELECT RAISE(ABORT, 'recovery_policy is never changed')
   WHERE EXISTS (SELECT 1 FROM recovery_policy
                  WHERE rowid = NEW.rowid OR (digest = NEW.digest AND source = NEW.source));
END""",
    """CREATE TRIGGER recovery_checkpoint_append BEFORE INSERT ON recovery_checkpoint BEGIN
  SELECT RAISE(ABORT, 'recovery_checkpoint is never changed')
   WHERE EXISTS (SELECT 1 FROM recovery_checkpoint WHERE stream = NEW.stream AND size = NEW.size);
END""",
)

_POSTGRESQL_GUARDS = (
    """CREATE FUNCTION recovery_never_changed() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is never changed', TG_TABLE_NAME; END $$""",
    """CREATE FUNCTION recovery_log_append() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS
$$ BEGIN
  IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq) + 1, 0) FROM recovery_log WHERE stream = NEW.stream) THEN
    RAISE EXCEPTION 'recovery_log: seq is not the next of its stream';
  END IF;
  RETURN NEW;
END $$""",
    "CREATE TRIGGER recovery_log_append BEFORE INSERT ON recovery_log "
    "FOR EACH ROW EXECUTE FUNCTION recovery_log_append()",
    "ALTER TABLE recovery_log ENABLE ALWAYS TRIGGER recovery_log_append",
    *(
        statement
        for table in _KEPT
        for name, when in (
            ("no_change", "BEFORE UPDATE OR DELETE ON {} FOR EACH ROW"),
            ("no_truncate", "BEFORE TRUNCATE ON {} FOR EACH STATEMENT"),
        )
        for statement in (
            f"CREATE TRIGGER {table}_{name} {when.format(table)} EXECUTE FUNCTION recovery_never_changed()",
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_{name}",
        )
    ),
)
