"""Which groups to create and which to take out of service: scaling, rollouts and evacuation in one plan.

Given for each role how many groups it should have (`desired`), and how many of these of the target revision
(`new`) and of any other (`old`), one step goes like this. "Usable" are the groups of other revisions in service
and those of the target that have counterparts in all roles (see `lockstep`).

1. What is out of service and not wanted goes at once: it serves nobody. Old revisions first; so a broken
   service is replaced as a whole, and a revision that was itself replaced halfway is not waited for.
2. Old groups in service beyond `old` go while usable groups ≥ desired − maxUnavailable remain.
3. New groups in service beyond `new` (scale-down) go while desired − maxUnavailable remain in service.
4. Groups on nodes that are being emptied go as soon as others suffice, or when they waited too long.
5. Groups are created up to `new` and `old`, at most to desired + maxSurge in all. What drains does not count.

A role that is not in the target revision stays, but for its groups that are out of service anyway, until every role of
the target has all it should have: only then is there another way for requests.

The plan looks at nothing but what stands: it may be asked again at any time, by anybody, after any change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction

from drumline.api.reasons import DrainReason
from drumline.core.inference import lockstep


class Standing(IntEnum):
    """How a group is, worst first."""

    OUT = 0  # not in service: waits, starts, backs off, failed
    SHAKY = 1  # in service by its status, though its leader is not ready now; or it was a moment ago; or its node is not heard of
    SERVING = 2


@dataclass(frozen=True, slots=True)
class Unit:
    """A group that is not draining."""

    id: int
    revision: str
    standing: Standing
    load: float = 0.0  # requests in flight
    evacuating: bool = False  # a node of it is being emptied
    overdue: bool = False  # and it has waited for its replacement long enough


@dataclass(frozen=True, slots=True)
class Side:
    """One role: what it should have and what is there."""

    name: str
    desired: int
    new: int  # of the target revision
    old: int  # of any other
    units: tuple[Unit, ...] = ()
    gone: bool = False  # not in the target revision: `desired` is what it had, and `old` > 0 keeps it


@dataclass(frozen=True, slots=True)
class Task:
    """All roles of a service, and where they are to go."""

    target: str  # revision
    stable: str  # revision of groups created to keep `old`
    surge: int
    unavailable: int
    sides: tuple[Side, ...]
    paused: bool = False  # no group goes for a revision's sake
    why: DrainReason = DrainReason.ROLLOUT  # old groups go


@dataclass(frozen=True, slots=True)
class Removal:
    """A group to be taken out of service for good."""

    id: int
    why: DrainReason


@dataclass(frozen=True, slots=True)
class Step:
    """What to do about one role now."""

    create: tuple[tuple[str, int], ...] = ()  # (revision, groups)
    remove: tuple[Removal, ...] = ()


@dataclass(slots=True)
class _Stand:
    """A role while its step is worked out."""

    task: Task
    side: Side
    paired: int
    staying: dict[int, Unit]
    removed: list[Removal] = field(default_factory=list)

    def units(self, *, new: bool) -> list[Unit]:
        return [u for u in self.staying.values() if (u.revision == self.task.target) is new]

    def surplus(self, *, new: bool) -> int:
        return len(self.units(new=new)) - (self.side.new if new else self.side.old)

    def serving(self, *, new: bool) -> int:
        return sum(1 for u in self.units(new=new) if u.standing is Standing.SERVING)

    def spare(self, *, new: bool) -> int:
        """Serving groups that may go: new ones by number alone, old ones only for paired new ones."""
        fresh = self.serving(new=True)
        others = self.serving(new=False)
        total = others + (fresh if new else min(fresh, self.paired))
        return total - (self.side.desired - self.task.unavailable)

    def take(self, units: Iterable[Unit], why: DrainReason) -> None:
        for unit in units:
            del self.staying[unit.id]
            evacuated = unit.evacuating and why is DrainReason.SCALED_DOWN
            self.removed.append(Removal(unit.id, DrainReason.EVACUATED if evacuated else why))


def plan(task: Task) -> Mapping[str, Step]:
    """The next step of each role, by its name."""
    sides = [s for s in task.sides if not s.gone]
    fresh = {s.name: _serving(s, task.target) for s in sides}
    pairs = lockstep.paired(fresh, {s.name: s.new for s in sides})
    there = lockstep.share(fresh, {s.name: s.desired for s in sides}) == 1
    return {
        s.name: Step(remove=_without(task, s, 0 if there and not s.old else s.desired - task.unavailable))
        if s.gone
        else _step(task, s, pairs[s.name])
        for s in task.sides
    }


def _serving(side: Side, revision: str) -> int:
    return sum(1 for u in side.units if u.revision == revision and u.standing is Standing.SERVING)


def _without(task: Task, side: Side, keep: int) -> tuple[Removal, ...]:
    """A role that the target revision has not: it goes when the target can do without."""
    if task.paused:
        return ()
    stand = _Stand(task, side, 0, {u.id: u for u in side.units})
    stand.take(_of(side.units, Standing.OUT), DrainReason.ROLE_REMOVED)
    serving = stand.serving(new=False) + stand.serving(new=True)
    _take_serving(stand, _order(stand.staying.values()), serving - max(0, keep), len(side.units))
    return tuple(Removal(r.id, DrainReason.ROLE_REMOVED) for r in stand.removed)


def _step(task: Task, side: Side, paired: int) -> Step:
    stand = _Stand(task, side, paired, {u.id: u for u in side.units})
    _take_out_of_service(stand)
    _take_old(stand)
    _take_new(stand)
    _take_evacuating(stand)
    _take_excess(stand)
    return Step(_missing(stand), tuple(stand.removed))


def _take_out_of_service(stand: _Stand) -> None:
    for new in (False, True):
        found = _order(_of(stand.units(new=new), Standing.OUT))
        # one that stands in for a group on a cordoned node is not too many
        leaving = sum(1 for u in stand.units(new=new) if u.evacuating and u.standing is not Standing.OUT)
        stand.take(found[: max(0, stand.surplus(new=new) - leaving)], _why(stand, new=new))
    waiting = [
        u for u in stand.staying.values() if u.evacuating and (u.overdue or u.standing is Standing.OUT)
    ]
    stand.take(waiting, DrainReason.EVACUATED)


def _take_old(stand: _Stand) -> None:
    """Old groups in service, revision by revision so that all roles let go of the same."""
    _take_serving(
        stand,
        _by_revision(stand, [u for u in stand.units(new=False) if u.standing is not Standing.OUT]),
        stand.spare(new=False),
        stand.surplus(new=False),
        _why(stand, new=False),
    )


def _take_new(stand: _Stand) -> None:
    there = [u for u in stand.units(new=True) if u.standing is not Standing.OUT]
    _take_serving(stand, _order(there), stand.spare(new=True), stand.surplus(new=True))


def _take_evacuating(stand: _Stand) -> None:
    for new in (False, True):
        found = _order(u for u in stand.units(new=new) if u.evacuating)
        _take_serving(stand, found, stand.spare(new=new), len(found), DrainReason.EVACUATED)


def _take_serving(
    stand: _Stand,
    units: Iterable[Unit],
    spare: int,
    most: int,
    why: DrainReason = DrainReason.SCALED_DOWN,
) -> None:
    """Of `units` in that order at most `most`; one that serves costs one of `spare`, one that doesn't nothing."""
    chosen: list[Unit] = []
    for unit in units:
        cost = 1 if unit.standing is Standing.SERVING else 0
        if len(chosen) >= most or spare < cost:
            break
        spare -= cost
        chosen.append(unit)
    stand.take(chosen, why)


def _take_excess(stand: _Stand) -> None:
    """After a scale-down in the middle of a rollout: new groups that help nobody yet make room."""
    excess = len(stand.staying) - stand.side.desired - stand.task.surge
    idle = _order(_of(stand.units(new=True), Standing.OUT))
    stand.take(idle[: max(0, excess)], DrainReason.SCALED_DOWN)
    excess = len(stand.staying) - stand.side.desired - stand.task.surge
    unpaired = max(0, stand.serving(new=True) - stand.paired)
    _take_serving(stand, _order(stand.units(new=True)), stand.spare(new=True), min(max(0, excess), unpaired))


def _missing(stand: _Stand) -> tuple[tuple[str, int], ...]:
    """What to create; the stable revision first, so that a canary never stands in for it."""
    task, side = stand.task, stand.side
    room = max(0, side.desired + task.surge - len(stand.staying))
    staying = [u for u in stand.staying.values() if not u.evacuating]
    fresh = sum(1 for u in staying if u.revision == task.target)
    old = min(room, max(0, side.old - (len(staying) - fresh)))
    new = min(room - old, max(0, side.new - fresh))
    return tuple((revision, n) for revision, n in ((task.stable, old), (task.target, new)) if n)


def _why(stand: _Stand, *, new: bool) -> DrainReason:
    """Old groups go for the rollout, unless it has what it wants and the role only shrinks."""
    shrinks = new or (stand.side.old > 0 and stand.surplus(new=True) >= 0)
    return DrainReason.SCALED_DOWN if shrinks else stand.task.why


def _of(units: Iterable[Unit], standing: Standing) -> list[Unit]:
    return [u for u in units if u.standing is standing]


def _order(units: Iterable[Unit]) -> list[Unit]:
    """Whom to do without first: not in service, on a cordoned node, least loaded, newest (coldest cache)."""
    return sorted(units, key=lambda u: (u.standing, not u.evacuating, u.load, -u.id))


def _by_revision(stand: _Stand, units: list[Unit]) -> Iterator[Unit]:
    """What costs no pair first, then revisions that were given up halfway, the stable one last."""
    serving, desired = _counts(stand.task)
    left = {r: _order(u for u in units if u.revision == r) for r in {u.revision for u in units}}
    role = stand.side.name

    def weight(revision: str) -> tuple[Standing, Fraction, bool, str]:
        cost = lockstep.loss(serving.get(revision, {}), desired, role)
        return left[revision][0].standing, cost, revision == stand.task.stable, revision

    while left:
        revision = min(left, key=weight)
        unit = left[revision].pop(0)
        if unit.standing is Standing.SERVING:
            serving[revision][role] -= 1
        if not left[revision]:
            del left[revision]
        yield unit


def _counts(task: Task) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Groups in service by revision and role, and what the roles should have."""
    serving: dict[str, dict[str, int]] = {}
    for side in task.sides:
        for unit in _of(side.units, Standing.SERVING):
            counts = serving.setdefault(unit.revision, {})
            counts[side.name] = counts.get(side.name, 0) + 1
    return serving, {s.name: s.desired for s in task.sides if not s.gone}
