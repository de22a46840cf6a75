"""Where a service's accelerator time went: an account that goes on from the one in the status.

`account(before, now) → after` settles the time between the two for every group, at the group's chips, state by
state (see `ledger_times`), and adds what its engine has counted. It is a pure function of the status' account and of
what is observed, so that an operator which was restarted goes on where the last write ended: what happened meanwhile
it reads off the pods' own times and the engines' counters. A group counts from when it began to wait; one that is
gone counts as draining until the account that misses it.

Whole milliseconds: a moment is rounded once, and a span is the difference of two moments, so that the states add up
to the whole exactly.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from drumline.api.goodput import StateTime
from drumline.api.serving import NOT_HELD, RoleServing, ServingState, ServingStatus
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.inference import ledger_counters as counters
from drumline.core.inference.ledger_counters import Counted, Counts, Resume
from drumline.core.inference.ledger_times import Facts, spans
from drumline.core.inference.signals import EngineSample

Key = tuple[str, int]  # role, group


@dataclass(frozen=True, slots=True)
class Entry:
    """One group: what is known of it, its weight in chips (a CPU pod counts as one), dollars for one of them an hour."""

    facts: Facts
    chips: int
    dollars_an_hour: float | None = None


MOST = 2**63 - 1  # that the API server takes
Slo = tuple[float | None, float | None]


def account(
    before: ServingStatus | None, entries: Mapping[Key, Entry], slo: Slo, now: float
) -> ServingStatus:
    """The account at `now` (Unix seconds). The very same figures for the same arguments."""
    before = before or ServingStatus()
    resume = _resume(before.resume)
    start = unix(before.at, now)
    now = max(now, start)  # a clock that went back adds nothing
    times: dict[str, Counter[ServingState]] = defaultdict(Counter)
    news: dict[str, list[Counts]] = defaultdict(list)
    going_on: dict[Key, Counted] = {}
    dollars = before.cost_usd or 0.0
    for key, entry in entries.items():
        known = resume.groups.get(key)
        begin = start if known is not None else _beginning(entry, start, now)
        for since, until, state in spans(_remembering(entry.facts, known, start), begin, now):
            weight = (_ms(until) - _ms(since)) * entry.chips
            times[key[0]][state] += weight
            dollars += _cost(state, weight, entry)
        going_on[key] = _counted(entry, known, news[key[0]], slo, same_slo=resume.slo == slo)
    for key, gone in resume.groups.items():
        if key not in entries:
            times[key[0]][ServingState.DRAINING] += (_ms(now) - _ms(start)) * gone.values[-1]
    roles = _roles(before, times, news)
    return _status(roles, Resume(going_on, slo), now, dollars if dollars or before.cost_usd else None)


def _remembering(facts: Facts, known: Counted | None, at: float) -> Facts:
    """The facts with what its engine had counted at the last account, for when no sample of then is left."""
    if known is None or known.attempt != facts.group.attempt or not any(known.values[:-1]):
        return facts
    values = dict(zip(counters.FIELDS, known.values, strict=False))
    then = EngineSample(at, requests=values["requests"], generation_tokens=values["generation_tokens"])
    return replace(facts, before=then)


def _beginning(entry: Entry, start: float, now: float) -> float:
    """When a group that no account has seen yet began: not before the last account, which missed it."""
    group = entry.facts.group
    known = [unix(t) for t in (group.queued_at, group.started_at) if t is not None]
    return min(now, max(start, min(known, default=now)))


def _cost(state: ServingState, weight: int, entry: Entry) -> float:
    if state in NOT_HELD or entry.dollars_an_hour is None:
        return 0.0
    return weight / 3_600_000 * entry.dollars_an_hour


def _counted(entry: Entry, known: Counted | None, news: list[Counts], slo: Slo, *, same_slo: bool) -> Counted:
    """What is remembered of the group; what is new is added to `news`. The last value is its weight."""
    facts, attempt = entry.facts, entry.facts.group.attempt
    values = Counted(known.attempt, known.values[:-1]) if known is not None else None
    if facts.samples:
        now = counters.counts(facts.samples[-1], slo)
        news.append(counters.added(values, attempt, now, same_slo=same_slo))
        return Counted(attempt, (*now, entry.chips))
    if values is not None and values.attempt == attempt:
        return Counted(attempt, (*values.values, entry.chips))
    return Counted(attempt, (*(0 for _ in counters.FIELDS), entry.chips))


def _roles(
    before: ServingStatus, times: Mapping[str, Mapping[ServingState, int]], news: Mapping[str, list[Counts]]
) -> tuple[RoleServing, ...]:
    known = {role.role: role for role in before.roles}
    return tuple(
        _role(known.get(name) or RoleServing(role=name), times.get(name, {}), news.get(name, []))
        for name in sorted({*known, *times, *news})
    )


def _role(role: RoleServing, times: Mapping[ServingState, int], news: list[Counts]) -> RoleServing:
    settled = {entry.state: entry.ms for entry in role.states}
    states = tuple(
        StateTime(state=state.value, ms=total)
        for state in ServingState
        if (total := settled.get(state.value, 0) + times.get(state, 0))
    )
    sums = {
        name: min(MOST, getattr(role, name) + sum(new[i] for new in news))
        for i, name in enumerate(counters.FIELDS)
    }
    return role.model_copy(update={"states": states, **sums})


def _status(
    roles: tuple[RoleServing, ...], resume: Resume, now: float, dollars: float | None
) -> ServingStatus:
    elapsed = sum(state.ms for role in roles for state in role.states)
    idle = {state.value for state in NOT_HELD}
    held = sum(state.ms for role in roles for state in role.states if state.state not in idle)

    def total(name: str) -> int:
        return sum(int(getattr(role, name)) for role in roles)

    latencies = [
        share
        for kind in ("ttft", "tpot")
        if (share := _share(total(f"{kind}_met"), total(f"{kind}_measured"))) is not None
    ]
    seconds = held / 1000
    return ServingStatus(
        at=rfc3339_millis(now),
        elapsed_ms=elapsed,
        held_ms=held,
        roles=roles,
        tokens_per_accelerator_second=_share(total("generation_tokens"), seconds),
        requests_per_accelerator_second=_share(total("requests"), seconds),
        slo_attainment=min(latencies, default=None),
        acceptance_rate=_share(total("accepted_tokens"), total("draft_tokens")),
        cost_usd=round(dollars, 6) if dollars is not None else None,
        resume=_packed(resume),
    )


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole > 0 else None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _packed(resume: Resume) -> str:
    groups = [[role, number, c.attempt, *c.values] for (role, number), c in sorted(resume.groups.items())]
    return json.dumps({"slo": resume.slo, "groups": groups}, separators=(",", ":"))


def _resume(text: str) -> Resume:
    """What was packed; an unreadable one is that of an account that begins."""
    try:
        raw = json.loads(text) if text else {}
        groups = dict(_groups(raw.get("groups") or ()))
        first, second = raw.get("slo") or (None, None)
    except (AttributeError, TypeError, ValueError):
        return Resume()
    return Resume(groups, (first, second))


def _groups(raw: Any) -> Iterator[tuple[Key, Counted]]:
    for role, number, attempt, *values in raw:
        if len(values) == len(counters.FIELDS) + 1:
            yield (str(role), int(number)), Counted(int(attempt), tuple(int(v) for v in values))
