"""Authority lent for a time, and taken back. It stands in the stream of the organisation."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from recovery_engine.errors import Diagnostic, IdempotencyConflict, InvalidRequest, NotAllowed, did_you_mean
from recovery_engine.log.entry import ORGANISATION, Entry
from recovery_engine.log.projection import delegated
from recovery_engine.log.writing.group import Earlier, Group, LogReceipt, Wanted
from recovery_engine.log.writing.later import ill_formed
from recovery_engine.money import Money
from recovery_engine.policy.reading import ILL_TYPED, UNKNOWN_WORD, problem
from recovery_engine.policy.schema import Policy
from recovery_engine.staff import Staff
from recovery_engine.workflow import Delegation, require_lendable


class _Lending:
    """What both have in common: the two people are locked, so that every approval in their name has its place."""

    kind: str

    def __init__(self, request_id: str, by: str) -> None:
        self.id, self.by = request_id, by

    def wants(self, wanted: Wanted) -> None:
        wanted.ids.add(self.id)

    def again(self, earlier: Earlier, content: Entry) -> LogReceipt:
        """The receipt of the same command from before. Raises IdempotencyConflict."""
        entry = earlier.entry
        same = entry["kind"] == self.kind and entry["by"] == self.by
        if not same or any(entry.get(name) != value for name, value in content.items()):
            message = f"the id `{self.id}` was used before, for something else"
            raise IdempotencyConflict(message, "make a new id for each command, before sending it")
        return earlier.receipt

    def append(self, group: Group, fields: Entry, people: Iterable[str], at_us: int) -> LogReceipt:
        """Append the entry. Raises InvalidRequest where it does not fit."""
        touches = group.touches(sorted(f"employee:{person}" for person in people))
        try:
            return group.append(ORGANISATION, self.kind, self.id, self.by, {**fields, "touches": touches}, at_us)
        except ValueError as error:
            raise ill_formed(error) from None


class Delegate(_Lending):
    """Somebody lends their authority, in a role, to somebody else."""

    kind = "delegated"

    def __init__(
        self,
        request_id: str,
        *,
        by: str,
        to: str,
        role: str,
        sites: Iterable[str],
        remedies: Iterable[str],
        cap: Money | None,
        from_us: int | None,
        until_us: int,
        staff: Staff | None = None,
    ) -> None:
        super().__init__(request_id, by)
        self.staff = staff
        self.to, self.role, self.sites, self.remedies = to, role, sorted(set(sites)), sorted(set(remedies))
        self.cap, self.from_us, self.until_us = cap, from_us, until_us

    def locks(self, group: Group, wanted: Wanted) -> None:
        """Both people, and the organisation's stream: two at once could close a circle."""
        wanted.streams.add(ORGANISATION)
        wanted.subjects.update((f"employee:{self.by}", f"employee:{self.to}"))

    def _content(self) -> Entry:
        content: Entry = {"to": self.to, "role": self.role, "sites": self.sites, "remedies": self.remedies}
        if self.cap is not None:
            content |= {"cap": self.cap.minor, "currency": self.cap.currency}
        if self.from_us is not None:
            content["from_us"] = self.from_us
        return {**content, "until_us": self.until_us}

    def run(self, group: Group) -> tuple[Delegation, LogReceipt, bool]:
        """Append it. Raises InvalidRequest, NotAllowed, IdempotencyConflict, LogError."""
        content = self._content()
        if found := [
            problem(
                ILL_TYPED,
                name,
                f"`{content[f'{name}_us']!r}` is not a time",
                "give UTC microseconds, as a whole number",
            )
            for name in ("from", "until")
            if type(content.get(f"{name}_us", 0)) is not int
        ]:
            raise InvalidRequest(found)
        if earlier := group.earlier(self.id):
            receipt = self.again(earlier, content)
            return delegated(earlier.entry), receipt, True
        at_us = group.clock(ORGANISATION)
        content.setdefault("from_us", at_us)
        if found := list(self._problems(group, content["from_us"], at_us)):
            raise InvalidRequest(found)
        lent = delegated({"id": self.id, "by": self.by, **content})
        require_lendable(lent, group.delegations().values())
        receipt = self.append(group, content, {self.by, self.to}, at_us)
        group.keep_delegation(lent)
        return lent, receipt, False

    def _problems(self, group: Group, from_us: int, at_us: int) -> Iterable[Diagnostic]:
        policies = list(group.policies.by_digest.values())
        roles = {role for policy in policies for role in policy.ladder}
        if self.role not in roles:
            yield problem(UNKNOWN_WORD, "role", f"unknown role `{self.role}`", did_you_mean(self.role, sorted(roles)))
        for name, kind, given in (("remedies", "remedy", self.remedies), ("sites", "site", self.sites)):
            lists = [policy.words.known(kind) for policy in policies]
            known = {word for words in lists for word in words or ()}
            if None in lists:
                continue
            for word in given:
                if word not in known:
                    yield problem(UNKNOWN_WORD, name, f"unknown `{word}`", did_you_mean(word, sorted(known)))
        yield from self._claims(policies, at_us)
        if not from_us < self.until_us:
            yield problem(ILL_TYPED, "until", "it would end before it begins", "give a later time")
        elif self.until_us <= at_us:
            yield problem(ILL_TYPED, "until", "it would be over already", "give a later time")

    def _claims(self, policies: list[Policy], at_us: int) -> Iterable[Diagnostic]:
        """What the staff directory has against it: whoever lends a role has it, or a higher one."""
        if self.staff is None:
            return
        day = datetime.fromtimestamp(at_us // 1_000_000, UTC).date()
        for name, employee in (("by", self.by), ("to", self.to)):
            found = [one for one in self.staff.problems(employee, None, None, day) if one.where != "site"]
            yield from (replace(one, where=name) for one in found)
        lender = self.staff.person(self.by, day)
        ladders = [policy.ladder for policy in policies if lender is not None and self.role in policy.ladder]
        if lender is not None and not any(
            lender.role in ladder and ladder.index(lender.role) >= ladder.index(self.role) for ladder in ladders
        ):
            yield problem(UNKNOWN_WORD, "role", f"{self.by} is {lender.role}, not {self.role}", "lend what one has")


class Revoke(_Lending):
    """Lent authority is taken back, by whoever lent it; what was approved with it stands."""

    kind = "revoked"

    def __init__(self, delegation: str, by: str, request_id: str | None) -> None:
        super().__init__(request_id or f"~revoke/{delegation}", by)
        self.delegation = delegation

    def locks(self, group: Group, wanted: Wanted) -> None:
        """Both people: after it no approval in their name can come."""
        wanted.streams.add(ORGANISATION)
        lent = group.delegations().get(self.delegation)
        if lent is not None:
            wanted.subjects.update((f"employee:{lent.by}", f"employee:{lent.to}"))

    def run(self, group: Group) -> tuple[Delegation, LogReceipt, bool]:
        """Append it. Raises NotAllowed, IdempotencyConflict, LogError."""
        lent = group.delegations().get(self.delegation)
        if lent is None:
            raise NotAllowed(f"there is no delegation `{self.delegation}`", "check the id")
        if earlier := group.earlier(self.id):
            return lent, self.again(earlier, {"delegation": self.delegation}), True
        if self.by != lent.by:
            raise NotAllowed(f"the delegation `{self.delegation}` is {lent.by}'s", f"ask {lent.by} to revoke it")
        if lent.revoked_us is not None:
            raise NotAllowed(f"the delegation `{self.delegation}` was revoked", "nothing is left to revoke")
        at_us = group.clock(ORGANISATION)
        receipt = self.append(group, {"delegation": self.delegation}, {lent.by, lent.to}, at_us)
        after = lent._replace(revoked_us=at_us)
        group.keep_delegation(after)
        return after, receipt, False
