"""What others have on the tables and views that an upgrade makes anew: owners, privileges, indexes, triggers."""

from typing import Any, Protocol

from recovery_engine.errors import LogError
from recovery_engine.log.tables import PROJECTIONS
from recovery_engine.log.views import VIEWS

_ANEW = (*PROJECTIONS, *VIEWS)
_ALIKE = "recovery_state"
"""Whoever may use this table may use in the same way one that was not there before."""


class Belongings(Protocol):
    """Remembered before anything is dropped, given back after it was made anew."""

    def remember(self) -> None:
        """Note what is there."""
        ...

    def give_back(self) -> None:
        """Make it again as it was."""
        ...


class SqliteBelongings:
    """Indexes and triggers of the host's; SQLite has no owners or privileges."""

    def __init__(self, connection: Any) -> None:
        self._execute = connection.execute
        self._statements: list[str] = []

    def remember(self) -> None:
        """Note the statements that made them."""
        marks = ", ".join("?" * len(_ANEW))
        found = self._execute(
            f"SELECT sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND tbl_name IN ({marks}) "
            "AND sql IS NOT NULL AND substr(name, 1, 9) <> 'recovery_' ORDER BY type, name",
            _ANEW,
        )
        self._statements = [sql for (sql,) in found.fetchall()]

    def give_back(self) -> None:
        """Run them again."""
        for statement in self._statements:
            self._execute(statement)


class PostgresBelongings:
    """Owners, privileges (of columns too), indexes and triggers; what cannot be made again is refused."""

    def __init__(self, connection: Any, place: str) -> None:
        self._execute, self._place = connection.execute, place
        self._owners: list[str] = []
        self._others: list[str] = []

    def require_owner(self) -> None:
        """Raises LogError where the role may not change what is made anew."""
        others = self._execute(_OTHER_OWNERS, ([*_ANEW, "recovery_schema"],)).fetchall()
        if others:
            user, owner = others[0]
            message = f"{self._place}: `{user}` may not change these tables, which belong to `{owner}`"
            raise LogError(message, f"run it as `{owner}`")

    def remember(self) -> None:
        """Note the statements that make all of it again. Raises LogError."""
        if lost := self._execute(_NOT_AGAIN, (list(_ANEW),)).fetchall():
            named = ", ".join(what for (what,) in lost)
            cure = "take it off, upgrade, and put it on again"
            raise LogError(f"{self._place}: an upgrade would lose what was put on the tables: {named}", cure)
        there = {name for (name,) in self._execute(THERE, (list(_ANEW),)).fetchall()}
        alike = (list(_ANEW), [name if name in there else _ALIKE for name in _ANEW])
        self._owners = self._written(_OWNERS, *alike)
        self._others = self._written(_GRANTS, *alike)
        for query in (_COLUMN_GRANTS, _INDEXES, _TRIGGERS):
            self._others += self._written(query, list(_ANEW))

    def give_back(self) -> None:
        """Owners first: privileges are theirs to give. What a default gave to somebody else is taken back."""
        for statement in self._owners:
            self._execute(statement)
        for statement in (*self._written(_TAKEN_BACK, list(_ANEW)), *self._others):
            self._execute(statement)

    def _written(self, query: str, *names: list[str]) -> list[str]:
        """The statements that a query writes."""
        return [statement for (statement,) in self._execute(query, names).fetchall()]


_OTHER_OWNERS = """
SELECT current_user, pg_get_userbyid(c.relowner) FROM unnest(%s::text[]) AS name
  JOIN pg_class AS c ON c.oid = to_regclass(name) WHERE NOT pg_has_role(c.relowner, 'USAGE') ORDER BY name"""
THERE = "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL"
_OWNERS = """
SELECT format('ALTER TABLE %%I OWNER TO %%I', name, pg_get_userbyid(c.relowner))
  FROM unnest(%s::text[], %s::text[]) AS n(name, alike) JOIN pg_class AS c ON c.oid = to_regclass(alike)"""

_TO = "CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END"
_MAY_PASS_ON = "CASE WHEN a.is_grantable AND a.grantee <> c.relowner THEN ' WITH GRANT OPTION' ELSE '' END"
_GRANTS = f"""
SELECT format('GRANT %%s ON %%I TO %%s%%s', a.privilege_type, name, {_TO}, {_MAY_PASS_ON})
  FROM unnest(%s::text[], %s::text[]) AS n(name, alike) JOIN pg_class AS c ON c.oid = to_regclass(alike),
       aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a"""
_COLUMN_GRANTS = f"""
SELECT format('GRANT %%s (%%I) ON %%I TO %%s%%s', a.privilege_type, attname, c.relname, {_TO}, {_MAY_PASS_ON})
  FROM unnest(%s::text[]) AS name JOIN pg_class AS c ON c.oid = to_regclass(name)
  JOIN pg_attribute AS t ON t.attrelid = c.oid AND NOT attisdropped, aclexplode(attacl) AS a"""
_TAKEN_BACK = f"""
SELECT DISTINCT format('REVOKE ALL ON %%I FROM %%s', name, {_TO})
  FROM unnest(%s::text[]) AS name JOIN pg_class AS c ON c.oid = to_regclass(name),
       aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a"""

_INDEXES = """
SELECT pg_get_indexdef(i.indexrelid) FROM unnest(%s::text[]) AS name
  JOIN pg_index AS i ON i.indrelid = to_regclass(name)
  JOIN pg_class AS c ON c.oid = i.indexrelid WHERE NOT starts_with(c.relname, 'recovery_') ORDER BY c.relname"""
_TRIGGERS = """
SELECT pg_get_triggerdef(t.oid) FROM unnest(%s::text[]) AS name JOIN pg_trigger AS t ON t.tgrelid = to_regclass(name)
 WHERE NOT tgisinternal AND NOT starts_with(tgname, 'recovery_') ORDER BY tgname"""
_NOT_AGAIN = """
WITH ours AS (SELECT name, to_regclass(name) AS oid FROM unnest(%s::text[]) AS name)
SELECT 'row level security of ' || name FROM ours JOIN pg_class USING (oid) WHERE relrowsecurity
UNION ALL SELECT format('the rule %%s of %%s', rulename, name) FROM ours JOIN pg_rewrite AS r ON r.ev_class = ours.oid
 WHERE rulename <> '_RETURN'
UNION ALL SELECT format('the publication %%s of %%s', pubname, name) FROM ours
  JOIN pg_publication_rel AS p ON p.prrelid = ours.oid JOIN pg_publication ON pg_publication.oid = p.prpubid
UNION ALL SELECT format('the trigger %%s of %%s, which is not enabled as usual', tgname, name) FROM ours
  JOIN pg_trigger ON tgrelid = ours.oid WHERE NOT tgisinternal AND tgenabled <> 'O'"""
