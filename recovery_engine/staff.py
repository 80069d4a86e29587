"""Who may act: the people of a company, their roles, sites and days, and what they may give where it is their own.

For hosts that know no users: a file that people keep, or a function of the host's. No file and no clock is read here.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, Self

from recovery_engine.errors import Diagnostic, InvalidRequest, PolicyError, did_you_mean
from recovery_engine.model import OwnLimit
from recovery_engine.money import CURRENCIES, Money
from recovery_engine.policy.fields import KEY, Place
from recovery_engine.policy.schema import Policy
from recovery_engine.policy.tree import Source, read_tree
from recovery_engine.policy.words import (
    Problem,
    as_list,
    read_day,
    read_flag,
    read_id,
    read_money,
    read_text,
    read_word,
)

UNKNOWN, SUSPENDED, NOT_HERE, ELSEWHERE, ANOTHER_ROLE = "ST001", "ST002", "ST003", "ST004", "ST005"


@dataclass(frozen=True, slots=True)
class Person:
    """One person in one role: at ``sites`` (None: every site), from ``first_day`` to ``last_day``, both included.

    Days are business days; None is open. ``own_limit`` is what this person may give alone, where it is not what the
    role may. ``why`` says why somebody is suspended or has a limit of their own.
    """

    employee: str
    role: str
    sites: tuple[str, ...] | None = None
    first_day: date | None = None
    last_day: date | None = None
    suspended: bool = False
    own_limit: OwnLimit | None = None
    why: str = ""

    def here_on(self, day: date) -> bool:
        """Whether the day is one of this person's."""
        return (self.first_day is None or self.first_day <= day) and (self.last_day is None or day <= self.last_day)

    def acts_at(self, site: str | None, day: date) -> bool:
        """Whether this person may act there on that day."""
        return not self.suspended and self.here_on(day) and (self.sites is None or site in self.sites)


class Staff:
    """The people who may act, by employee. One employee may be several persons, each with days of their own."""

    def __init__(self, people: Iterable[Person], name: str = "", source: Source | None = None) -> None:
        self.people, self.name = tuple(people), name
        self._source = source
        self._ask: Callable[[str], Person | None] | None = None
        self._by_employee: dict[str, list[Person]] = {}
        for person in self.people:
            self._by_employee.setdefault(person.employee, []).append(person)

    @classmethod
    def of(cls, callback: Callable[[str], Person | None]) -> Self:
        """A directory of the host's: *callback* gives the person for an employee, or None. It lists nobody."""
        staff = cls(())
        staff._ask = callback
        return staff

    def person(self, employee: str, day: date | None = None) -> Person | None:
        """The person whom an employee is on a day, or else was last or will be first; None for a stranger.

        Raises TypeError where the host's callback answers with something else.
        """
        if self._ask is not None:
            found: object = self._ask(employee)
            if found is not None and (not isinstance(found, Person) or found.employee != employee):
                raise TypeError(f"the staff directory answers `{employee}` with {found!r:.80}")
            return found
        persons = self._by_employee.get(employee, ())
        if day is None:
            return persons[-1] if persons else None
        here = [person for person in persons if person.here_on(day)]
        before = [person for person in persons if person.last_day is not None and person.last_day < day]
        return next(iter((*here, *sorted(before, key=_last, reverse=True), *sorted(persons, key=_first))), None)

    def only(self, *employees: str | None) -> "Staff":
        """The directory of some people alone; a callback is asked now, so that nobody waits for it later."""
        named = [employee for employee in employees if employee]
        if self._ask is not None:
            found = [self.person(employee) for employee in named]
            return Staff([person for person in found if person is not None])
        return Staff([person for employee in named for person in self._by_employee.get(employee, ())])

    def acting(self, employee: str, role: str | None, site: str | None, day: date) -> Person:
        """The person whom an employee is on a day. Raises InvalidRequest where they may not act so."""
        found = self.problems(employee, role, site, day)
        person = self.person(employee, day)
        if found or person is None:
            raise InvalidRequest(found)
        return person

    def problems(self, employee: str, role: str | None, site: str | None, day: date) -> list[Diagnostic]:
        """Why this employee may not act now in that role at that site; nothing where they may.

        A role of None or "" is left out: it is the directory's.
        """
        person = self.person(employee, day)
        if person is None:
            cure = "check the id, or have them entered in the staff directory"
            return [_problem(UNKNOWN, "employee", f"`{employee[:64]}` is nobody in the staff directory", cure)]
        return list(_problems(person, role, site, day))

    def diagnostic(
        self, person: Person | None, key: str, problem: Problem, level: Literal["error", "warning"] = "error"
    ) -> Diagnostic:
        """A problem with one thing said of a person, or with all of the people, placed in the file it was read from."""
        if self._source is None:
            return Diagnostic(
                problem.code, level, person.employee if person else "staff", problem.message, problem.help
            )
        index = next((at for at, one in enumerate(self.people) if one is person), None)
        if index is None:
            found = replace(self._source.diagnostic_at(("people", KEY), problem), excerpt="")
        else:
            found = self._source.diagnostic_at(("people", index, key), problem)
        return replace(found, level=level)


def _first(person: Person) -> date:
    return person.first_day or date.min


def _last(person: Person) -> date:
    return person.last_day or date.max


def _problem(code: str, where: str, message: str, help: str) -> Diagnostic:
    return Diagnostic(code, "error", where, message, help)


def _problems(person: Person, role: str | None, site: str | None, day: date) -> Iterator[Diagnostic]:
    who, another = person.employee, "another person must do it"
    if person.suspended:
        why = f": {person.why}" if person.why else ""
        yield _problem(SUSPENDED, "employee", f"{who} is suspended{why}", another)
    if person.first_day is not None and day < person.first_day:
        yield _problem(NOT_HERE, "employee", f"{who} is not here before {person.first_day}", another)
    if person.last_day is not None and person.last_day < day:
        yield _problem(NOT_HERE, "employee", f"{who} was here until {person.last_day}", another)
    if person.sites is not None and site not in person.sites:
        message = f"{who} is not at `{site}`" if site else f"no site, and {who} is not at every site"
        yield _problem(ELSEWHERE, "site", message, did_you_mean(site or "", person.sites))
    if role and role != person.role:
        message = f"{who} is {person.role}, not {role}"
        yield _problem(ANOTHER_ROLE, "role", message, f"give `{person.role}`, or leave the role out")


# --- from text --------------------------------------------------------------------------------------------------------


def read_staff(text: str, file: str = "<staff>", policies: Iterable[Policy] = ()) -> Staff:
    """Read a staff directory from YAML text. Where *policies* are given, roles and sites must be theirs.

    Raises PolicyError with every mistake in it, each with its place, a caret and a cure.
    """
    source = Source(file, noun="staff directory", begins="staff: a-name")
    tree = read_tree(text, source)
    staff = None if tree is None else _Reader(tree, source, tuple(policies)).staff()
    if staff is None or source.found:
        raise PolicyError(sorted(dict.fromkeys(source.found), key=lambda found: (found.line, found.column)))
    return staff


_KEYS = ("staff", "currency", "people")
_OF_A_PERSON = ("employee", "role", "sites", "from", "until", "suspended", "limit", "why")
_OF_A_LIMIT = ("at_most", "up_to")


class _Reader:
    """Reads the tree of a file and reports into its source."""

    def __init__(self, tree: dict[str, Any], source: Source, policies: tuple[Policy, ...]) -> None:
        self.tree, self.source = tree, source
        self.roles = tuple(dict.fromkeys(role for policy in policies for role in policy.ladder)) or None
        listed = [policy.words.known("site") for policy in policies]
        self.sites = None if None in listed or not listed else tuple(site for sites in listed for site in sites or ())
        self.currency: str | None = None

    def staff(self) -> Staff:
        self.unknown_keys((), self.tree, _KEYS)
        name = self.take((), self.tree, "staff", read_id, needed=True)
        self.currency = self.take((), self.tree, "currency", _read_currency)
        rows = self.tree.get("people")
        if "people" not in self.tree and "people" not in self.source.lost:
            cure = "add `people:` with a line such as `- {employee: emp-1, role: lead}`"
            self.report((), Problem("RP005", "`people` is missing", cure))
        elif "people" in self.tree and (not isinstance(rows, list) or not rows):
            cure = "write lines that begin with `- `, such as `- {employee: emp-1, role: lead}`"
            self.report(("people",), Problem("RP007", "people are a list", cure))
        people = [self.person(("people", at), row) for at, row in enumerate(rows if isinstance(rows, list) else ())]
        self.overlaps(people)
        return Staff([person for person in people if person is not None], name or "", self.source)

    def person(self, place: Place, row: Any) -> Person | None:
        if not isinstance(row, dict):
            self.report(place, Problem("RP007", "a person is a mapping", "write `{employee: emp-1, role: lead}`"))
            return None
        self.unknown_keys(place, row, _OF_A_PERSON)
        employee = self.take(place, row, "employee", read_id, needed=True)
        role = self.take(place, row, "role", self.read_role, needed=True)
        first, last = (self.take(place, row, name, read_day) for name in ("from", "until"))
        if first and last and last < first:
            problem = Problem("RP012", "`until` is before `from`", "`until` is the last day, included")
            self.report((*place, "until"), problem)
        suspended = self.take(place, row, "suspended", read_flag) or False
        own_limit = self.own_limit((*place, "limit"), row["limit"]) if "limit" in row else None
        why = self.take(place, row, "why", read_text)
        if "why" not in row and (suspended or "limit" in row):
            key = "suspended" if suspended else "limit"
            problem = Problem("RP005", f"`why` is missing, and there is `{key}`", "say why: it will be asked")
            self.report((*place, key, KEY), problem)
        sites = self.sites_of((*place, "sites"), row["sites"]) if "sites" in row else None
        if employee is None or role is None:
            return None
        return Person(employee, role, sites, first, last, suspended, own_limit, why or "")

    def sites_of(self, place: Place, raw: Any) -> tuple[str, ...]:
        if raw is None or raw == []:
            cure = "name at least one, or leave the key out: every site"
            self.report(place, Problem("RP007", "an empty list of sites", cure))
        sites: list[str] = []
        for at, item in enumerate(as_list(raw) if raw is not None else ()):
            site = self.tried((*place, at), self.read_site, item)
            if site in sites:
                self.report((*place, at), Problem("RP008", f"`{site}` stands twice", "delete one"))
            elif site is not None:
                sites.append(site)
        return tuple(sites)

    def own_limit(self, place: Place, raw: Any) -> OwnLimit | None:
        example = "write `{at_most: 60}`, less than the role, or `{up_to: 150}`, more"
        if not isinstance(raw, dict) or len(raw) != 1:
            self.report(place, Problem("RP007", "a limit is either `at_most` or `up_to`", example))
            return None
        ((name, amount),) = raw.items()
        if name not in _OF_A_LIMIT:
            self.report((*place, name, KEY), Problem("RP004", f"unknown key `{name}`", example))
            return None
        if self.currency is None:
            if "currency" not in self.tree and "currency" not in self.source.lost:
                self.report(place, Problem("RP005", "a limit, and no currency", "add `currency: USD` at the top"))
            return None
        minor = self.tried((*place, name), read_money, amount, self.currency)
        return None if minor is None else OwnLimit(**{name: Money(minor, self.currency)})

    def overlaps(self, people: list[Person | None]) -> None:
        earlier: dict[str, list[tuple[int, Person]]] = {}
        for at, person in enumerate(people):
            if person is None:
                continue
            for before, other in earlier.setdefault(person.employee, []):
                if _overlap(person, other):
                    day = max(_first(person), _first(other))
                    on = "" if day == date.min else f" on {day}"
                    first = self.source.line_of(("people", before))
                    cure = f"the first is in line {first}: end one with `until` before the other begins"
                    problem = Problem("RP008", f"`{person.employee}` stands twice{on}", cure)
                    self.report(("people", at, "employee"), problem)
                    break
            earlier[person.employee].append((at, person))

    # --- words ---

    def read_role(self, raw: Any) -> str:
        role = read_word(raw, "a role")
        if self.roles is not None and role not in self.roles:
            raise Problem("RP003", f"unknown role `{role}`", did_you_mean(role, self.roles))
        return role

    def read_site(self, raw: Any) -> str:
        site = read_id(raw)
        if self.sites is not None and site not in self.sites:
            raise Problem("RP003", f"unknown site `{site}`", did_you_mean(site, self.sites))
        return site

    # --- reporting ---

    def report(self, place: Place, problem: Problem) -> None:
        self.source.add_at(place, problem)

    def unknown_keys(self, place: Place, mapping: dict[str, Any], known: tuple[str, ...]) -> None:
        for name, value in mapping.items():
            if name not in known:
                comma = value is None and bool(place)
                cure = "a comma ended the value before it: put that value in quotes" if comma else ""
                self.report(
                    (*place, name, KEY), Problem("RP004", f"unknown key `{name}`", cure or did_you_mean(name, known))
                )

    def take(
        self, place: Place, mapping: dict[str, Any], name: str, reader: Callable[[Any], Any], needed: bool = False
    ) -> Any:
        """The value of a key, or None after reporting what is wrong with it."""
        if name in mapping:
            return self.tried((*place, name), reader, mapping[name])
        if needed and name not in self.source.lost:
            self.report(place, Problem("RP005", f"`{name}` is missing", f"add `{name}: ...`"))
        return None

    def tried(self, place: Place, reader: Callable[..., Any], *args: Any) -> Any:
        try:
            return reader(*args)
        except Problem as problem:
            self.report(place, problem)
            return None


def _read_currency(raw: Any) -> str:
    text = read_text(raw, "a currency")
    if text not in CURRENCIES:
        raise Problem("RP003", f"unknown currency `{text[:40]}`", "write an ISO 4217 code such as `USD`")
    return text


def _overlap(one: Person, other: Person) -> bool:
    return _first(one) <= _last(other) and _first(other) <= _last(one)
