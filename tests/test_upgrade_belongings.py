"""What others have on the tables of a log stays when they are made anew: owners, privileges, indexes, triggers."""

from typing import Any

import pytest
from databases import new_role, postgres_admin
from engines import connected, rows
from old_logs import OURS, engine_on, everything, load

from recovery_engine import LogError, upgrade, verify
from recovery_engine.log.opening import sqlite_path

pytestmark = pytest.mark.slow


@pytest.fixture
def old(log_url: str) -> str:
    """A log with tables of version 1, in each database in turn."""
    return load(log_url)


def test_owners_and_privileges_stay_whoever_runs_it(postgres_url: str) -> None:
    load(postgres_url)
    owner, auditor, till, curious = (new_role(postgres_url, name) for name in ("owner", "auditor", "till", "curious"))
    with postgres_admin(postgres_url) as admin:
        for name in (*everything(postgres_url),):
            if name:
                admin.execute(f"ALTER TABLE {name} OWNER TO {owner}")
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {auditor}")
        admin.execute(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {till} WITH GRANT OPTION")
        admin.execute(f"GRANT SELECT (recovery, status) ON recovery_state TO {curious}")
        admin.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {curious}")
        admin.execute("GRANT SELECT ON recovery_audit TO PUBLIC")
    before = privileges(postgres_url)
    upgrade(postgres_url)
    after = privileges(postgres_url)
    alike = {(*row[1:],) for row in after if row[0] == "recovery_delegation"}
    assert alike == {(*row[1:],) for row in before if row[0] == "recovery_state" and row[1] == "table"}
    assert {row for row in after if row[0] != "recovery_delegation"} == before
    for role in (auditor, owner):
        assert verify(postgres_url.replace("postgres@", f"{role}@")).findings == ()


def privileges(url: str) -> set[tuple[Any, ...]]:
    """Relation, kind, owner, and who may do what."""
    return set(rows(url, PRIVILEGES))


PRIVILEGES = f"""
SELECT relname::text, 'table', pg_get_userbyid(relowner)::text, grantee::regrole::text, privilege_type, is_grantable
  FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner))) WHERE relkind IN ('r', 'v') AND {OURS}
UNION SELECT relname::text, attname::text, '', grantee::regrole::text, privilege_type, is_grantable
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid, aclexplode(attacl) WHERE {OURS}"""


def test_indexes_and_triggers_of_the_host_stay(old: str) -> None:
    with connected(old) as connection:
        connection.execute("CREATE TABLE seen (status TEXT)")
        connection.execute("CREATE INDEX host_by_employee ON recovery_state (employee, bday)")
        for statement in ON_SQLITE if sqlite_path(old) else ON_POSTGRESQL:
            connection.execute(statement)
    upgrade(old)
    assert rows(old, "SELECT * FROM seen") == []  # filling them anew is no change of the host's business
    with engine_on(old) as engine:
        engine.accept_clock()
        engine.void("r-20", "given twice", by="lead-1")
    assert rows(old, "SELECT * FROM seen") == [("voided",)]
    names = "SELECT name FROM sqlite_master" if sqlite_path(old) else "SELECT indexname FROM pg_indexes"
    assert ("host_by_employee",) in rows(old, names)


ON_SQLITE = [
    "CREATE TRIGGER host_sees AFTER UPDATE ON recovery_state BEGIN INSERT INTO seen VALUES (NEW.status); END",
]
ON_POSTGRESQL = [
    "CREATE FUNCTION host_sees() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN INSERT INTO seen VALUES (NEW.status); RETURN NULL; END $$",
    "CREATE TRIGGER host_sees AFTER UPDATE ON recovery_state FOR EACH ROW EXECUTE FUNCTION host_sees()",
]


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (["CREATE VIEW host_view AS SELECT recovery FROM recovery_audit"], "view host_view depends on"),
        (["CREATE VIEW host_view AS SELECT recovery FROM recovery_state"], "view host_view depends on"),
        (["ALTER TABLE recovery_state ENABLE ROW LEVEL SECURITY"], "row level security of recovery_state"),
        (["CREATE RULE host_rule AS ON DELETE TO recovery_line DO INSTEAD NOTHING"], "the rule host_rule"),
        (["CREATE PUBLICATION host_pub FOR TABLE recovery_usage"], "the publication host_pub"),
    ],
)
def test_what_would_be_lost_on_a_server_is_named_and_refused(
    postgres_url: str, statements: list[str], named: str
) -> None:
    load(postgres_url)
    with connected(postgres_url) as connection:
        for statement in statements:
            connection.execute(statement)
    before = everything(postgres_url)
    with pytest.raises(LogError, match=named):
        upgrade(postgres_url)
    assert everything(postgres_url) == before


def test_a_log_in_a_schema_that_is_not_searched_first(postgres_url: str) -> None:
    load(postgres_url)
    with connected(postgres_url) as connection:
        connection.execute("CREATE SCHEMA other")
    there = f"{postgres_url}&options=-csearch_path%3Dother,public"
    upgrade(there)
    assert verify(there).findings == ()
    assert rows(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'other'") == [(0,)]
