"""Whole rollouts under random readiness, failures, changes of spec and scale: invariants after every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.core.inference import lockstep
from drumline.core.inference.rollout import Side, Standing, Step, Task, Unit, plan

LONGEST = 400  # steps that a rollout of this size may take


@dataclass
class World:
    """Groups by role, and where the rollout is to go. What is taken out is gone at once."""

    desired: dict[str, int]
    surge: int
    unavailable: int
    partition: int = 0
    target: int = 1
    units: dict[str, list[Unit]] = field(default_factory=dict)
    next_id: int = 0

    def task(self) -> Task:
        sides = []
        for role, wanted in self.desired.items():
            kept = min(self.partition, wanted)
            sides.append(Side(role, wanted, wanted - kept, kept, tuple(self.units.get(role, ()))))
        return Task(self.name, "r0", self.surge, self.unavailable, tuple(sides))

    @property
    def name(self) -> str:
        return f"r{self.target}"

    def serving(self, role: str, revision: str | None = None) -> int:
        return sum(
            u.standing is Standing.SERVING and revision in (None, u.revision)
            for u in self.units.get(role, ())
        )

    def add(self, role: str, revision: str, standing: Standing) -> None:
        self.units.setdefault(role, []).append(Unit(self.next_id, revision, standing))
        self.next_id += 1

    def set(self, role: str, index: int, standing: Standing) -> None:
        self.units[role][index] = replace(self.units[role][index], standing=standing)

    def step(self) -> Mapping[str, Step]:
        """One step, applied, with what always holds."""
        steps = plan(self.task())
        assert steps == plan(self.task())
        for role, step in steps.items():
            before, wanted = self.serving(role), self.desired[role]
            going = {r.id for r in step.remove}
            assert going <= {u.id for u in self.units.get(role, ())}
            self.units[role] = [u for u in self.units.get(role, ()) if u.id not in going]
            assert self.serving(role) >= min(before, wanted - self.unavailable)
            for revision, count in step.create:
                for _ in range(count):
                    self.add(role, revision, Standing.OUT)
            assert len(self.units[role]) <= wanted + self.surge
        return steps

    def all_ready(self) -> None:
        for role, units in self.units.items():
            for index in range(len(units)):
                self.set(role, index, Standing.SERVING)

    def finish(self) -> int:
        """Steps until nothing is left to do while everything that starts comes into service."""
        for steps in range(LONGEST):
            self.all_ready()
            if not any(s.create or s.remove for s in self.step().values()):
                return steps
        raise AssertionError(f"still rolling after {LONGEST} steps: {self}")

    def assert_there(self) -> None:
        for role, wanted in self.desired.items():
            kept = min(self.partition, wanted)
            fresh = sum(u.revision == self.name for u in self.units[role])
            assert (fresh, len(self.units[role]) - fresh) == (wanted - kept, kept)
            assert not any(u.evacuating for u in self.units[role])

    def capacity(self) -> Fraction:
        """Share of the load that complete pairs of one revision can take, over all revisions."""
        revisions = {u.revision for units in self.units.values() for u in units}
        return sum(
            (lockstep.share({r: self.serving(r, v) for r in self.desired}, self.desired) for v in revisions),
            Fraction(0),
        )


def steady(desired: dict[str, int], surge: int = 1, unavailable: int = 0, partition: int = 0) -> World:
    """A service of which all groups are of r0 and in service; r1 is to come."""
    world = World(dict(desired), surge, unavailable, partition)
    for role, wanted in desired.items():
        world.units[role] = []
        for _ in range(wanted):
            world.add(role, "r0", Standing.SERVING)
    return world


ROLES = st.dictionaries(st.sampled_from(["decode", "prefill", "third"]), st.integers(1, 7), min_size=1)
LIMITS = st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(lambda pair: sum(pair) > 0)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ready", "fail", "spec", "scale", "back", "partition", "cordon"]),
        st.integers(0, 1000),
    ),
    max_size=40,
)


def happen(world: World, event: str, number: int) -> None:
    """Something that is not our doing."""
    roles = sorted(world.desired)
    role = roles[number % len(roles)]
    units = world.units[role]
    if event == "ready" and units:
        world.set(role, number // 3 % len(units), Standing.SERVING)
    elif event == "fail" and units:
        world.set(role, number // 3 % len(units), Standing.OUT)
    elif event == "cordon" and units:
        index = number // 3 % len(units)
        units[index] = replace(units[index], evacuating=True)
    elif event == "spec":
        world.target += 1
    elif event == "back":
        world.target = max(0, world.target - 1)
    elif event == "scale":
        world.desired[role] = number // 3 % 9
    elif event == "partition":
        world.partition = number % 4 if world.target else 0


@settings(max_examples=300, deadline=None)
@given(ROLES, LIMITS, EVENTS)
def test_whatever_happens_the_bounds_hold_and_it_ends(
    desired: dict[str, int], limits: tuple[int, int], events: list[tuple[str, int]]
) -> None:
    world = steady(desired, *limits)
    for event, number in events:
        happen(world, event, number)
        world.step()
    if world.target == 0:
        world.partition = 0
    world.finish()
    world.assert_there()


@settings(max_examples=200, deadline=None)
@given(ROLES, st.integers(1, 3), st.data())
def test_pairs_keep_the_whole_load_when_nothing_else_happens(
    desired: dict[str, int], surge: int, data: st.DataObject
) -> None:
    world = steady(desired, surge, 0)
    for _ in range(LONGEST):
        steps = world.step()
        assert world.capacity() >= 1
        starting = [
            (role, i)
            for role, units in sorted(world.units.items())
            for i, u in enumerate(units)
            if u.standing is Standing.OUT
        ]
        if not starting and not any(s.create or s.remove for s in steps.values()):
            break
        for role, index in data.draw(st.sets(st.sampled_from(starting), min_size=1)) if starting else ():
            world.set(role, index, Standing.SERVING)
    world.assert_there()


@settings(max_examples=100, deadline=None)
@given(ROLES, LIMITS, st.integers(2, 6))
def test_rapid_patches_go_on_to_the_newest_and_spare_what_serves(
    desired: dict[str, int], limits: tuple[int, int], patches: int
) -> None:
    world = steady(desired, *limits)
    for _ in range(patches):
        world.step()
        world.target += 1
    world.step()
    for role, wanted in desired.items():
        assert world.serving(role, "r0") >= wanted - limits[1]
        assert {u.revision for u in world.units[role]} <= {"r0", world.name}
    world.finish()
    world.assert_there()


@settings(max_examples=100, deadline=None)
@given(ROLES, LIMITS, st.integers(0, 20))
def test_rolling_back_is_rolling_out_the_other_way(
    desired: dict[str, int], limits: tuple[int, int], steps: int
) -> None:
    world = steady(desired, *limits)
    for _ in range(steps):
        world.step()
        world.all_ready()
    world.target = 0
    world.finish()
    world.assert_there()
