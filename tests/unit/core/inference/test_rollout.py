"""The planner's single steps, as tables."""

from __future__ import annotations

import pytest

from drumline.api.reasons import DrainReason
from drumline.core.inference.rollout import Side, Standing, Step, Task, Unit, plan

OUT, SHAKY, SERVING = Standing.OUT, Standing.SHAKY, Standing.SERVING


def units(*revisions: str, standing: Standing = SERVING, start: int = 0) -> tuple[Unit, ...]:
    return tuple(Unit(start + i, revision, standing) for i, revision in enumerate(revisions))


def side(found: tuple[Unit, ...], desired: int, name: str = "serve", old: int = 0, **changes: object) -> Side:
    return Side(name, desired, **{"new": desired - old, "old": old, "units": found, **changes})


def step(found: Side, surge: int = 1, unavailable: int = 0, **changes: object) -> Step:
    return plan(Task("new", "old", surge, unavailable, (found,), **changes))[found.name]


def going(found: Step) -> list[int]:
    return [r.id for r in found.remove]


def test_missing_groups_are_created() -> None:
    assert step(side((), 3)) == Step(create=(("new", 3),))


def test_nothing_to_do() -> None:
    assert step(side(units("new", "new"), 2)) == Step()


def test_a_rollout_begins_with_the_surge() -> None:
    assert step(side(units("old", "old", "old"), 3), surge=2) == Step(create=(("new", 2),))


def test_an_old_group_goes_once_a_new_one_serves_and_the_next_one_comes() -> None:
    found = step(side((*units("old", "old"), *units("new", start=2)), 2))
    assert [(r.id, r.why) for r in found.remove] == [(1, DrainReason.ROLLOUT)]
    assert found.create == (("new", 1),)


def test_a_new_group_that_starts_holds_everything_up() -> None:
    assert step(side((*units("old", "old"), *units("new", standing=OUT, start=2)), 2)) == Step()


def test_without_surge_an_old_group_goes_first() -> None:
    found = step(side(units("old", "old", "old"), 3), surge=0, unavailable=1)
    assert (going(found), found.create) == ([2], (("new", 1),))


def test_with_both_the_room_of_both_is_used() -> None:
    found = step(side(units("old", "old", "old", "old"), 4), surge=1, unavailable=1)
    assert (going(found), found.create) == ([3], (("new", 2),))


def test_broken_old_groups_are_replaced_first_and_all_at_once() -> None:
    broken = units("old", "old", "old", standing=OUT)
    found = step(side((*broken, *units("old", start=3)), 4))
    assert (sorted(going(found)), found.create) == ([0, 1, 2], (("new", 4),))


def test_what_blinks_is_not_broken() -> None:
    assert going(step(side((*units("old"), *units("old", standing=SHAKY, start=1)), 2))) == []


def test_what_blinks_goes_before_what_serves() -> None:
    found = (*units("old"), *units("old", standing=SHAKY, start=1), *units("new", start=2))
    assert going(step(side(found, 2))) == [1]


def test_an_intermediate_revision_goes_before_the_stable_one() -> None:
    found = (*units("old"), *units("middle", start=1), *units("old", start=2), *units("new", start=3))
    assert going(step(side(found, 3))) == [1]


def test_a_partition_keeps_groups_of_the_old_revision() -> None:
    assert step(side((*units("old", "old"), *units("new", start=2)), 3, old=2)) == Step()
    missing = step(side((*units("old"), *units("new", "new", start=2)), 4, old=2))
    assert missing.create == (("old", 1),)


@pytest.mark.parametrize(
    ("found", "first"),
    [
        ((Unit(0, "new", SERVING), Unit(1, "new", OUT), Unit(2, "new", SERVING)), 1),
        (
            (
                Unit(0, "new", SERVING, load=1),
                Unit(1, "new", SERVING, load=4),
                Unit(2, "new", SERVING, load=3),
            ),
            0,
        ),
        ((Unit(0, "new", SERVING), Unit(1, "new", SERVING), Unit(2, "new", SERVING)), 2),
    ],
    ids=["out of service", "least loaded", "newest"],
)
def test_scaling_down_does_without(found: tuple[Unit, ...], first: int) -> None:
    result = step(side(found, len(found) - 1))
    assert [(r.id, r.why) for r in result.remove] == [(first, DrainReason.SCALED_DOWN)]
    assert result.create == ()


def test_scaling_down_prefers_a_group_on_a_cordoned_node() -> None:
    found = (Unit(0, "new", SERVING, evacuating=True), Unit(1, "new", SERVING))
    assert going(step(side(found, 1))) == [0]


def test_scaling_down_in_a_rollout_takes_the_old_revision() -> None:
    found = step(side((*units("old", "old", "old"), *units("new", "new", start=3)), 2))
    assert sorted(going(found)) == [0, 1, 2]


def test_scaling_up_in_a_rollout_creates_the_new_revision() -> None:
    assert step(side(units("old", "old"), 5)).create == (("new", 4),)


def test_scaling_to_zero_takes_everything() -> None:
    assert sorted(going(step(side((*units("new"), *units("new", standing=OUT, start=1)), 0)))) == [0, 1]


def test_a_scale_down_that_leaves_too_many_starting_ones_takes_these() -> None:
    found = (*units("old", "old"), *units("new", "new", "new", standing=OUT, start=2))
    result = step(side(found, 2))
    assert len(found) - len(result.remove) == 3
    assert all(number >= 2 for number in going(result))


def test_evacuation_makes_room_first() -> None:
    leaving = Unit(0, "new", SERVING, evacuating=True)
    assert step(side((leaving, Unit(1, "new", SERVING)), 2)) == Step(create=(("new", 1),))


def test_evacuation_ends_when_another_group_serves() -> None:
    found = (Unit(0, "new", SERVING, evacuating=True), Unit(1, "new", SERVING), Unit(2, "new", SERVING))
    result = step(side(found, 2))
    assert [(r.id, r.why) for r in result.remove] == [(0, DrainReason.EVACUATED)]


def test_a_group_that_stands_in_is_not_too_many() -> None:
    leaving = Unit(0, "new", SERVING, evacuating=True)
    assert step(side((leaving, Unit(1, "new", SERVING), Unit(2, "new", OUT)), 2)) == Step()


def test_evacuation_of_what_does_not_serve_and_of_what_waited_too_long() -> None:
    starting = Unit(0, "new", OUT, evacuating=True)
    overdue = Unit(1, "new", SERVING, evacuating=True, overdue=True)
    result = step(side((starting, overdue), 2))
    assert sorted((r.id, r.why) for r in result.remove) == [(0, "Evacuated"), (1, "Evacuated")]
    assert result.create == (("new", 2),)


def test_an_evacuated_group_of_the_old_revision_gets_a_new_one() -> None:
    found = (Unit(0, "old", SERVING, evacuating=True), Unit(1, "old", SERVING))
    assert step(side(found, 2)).create == (("new", 1),)


def two(prefill: tuple[Unit, ...], decode: tuple[Unit, ...], surge: int = 1) -> tuple[list[int], list[int]]:
    """What goes of a service with four prefill and two decode groups."""
    task = Task("new", "old", surge, 0, (side(prefill, 4, "prefill"), side(decode, 2, "decode")))
    found = plan(task)
    return going(found["prefill"]), going(found["decode"])


def test_no_group_goes_before_a_pair_is_there() -> None:
    old = units("old", "old", "old", "old")
    assert two((*old, *units("new", start=4)), units("old", "old")) == ([], [])
    starting = (*units("old", "old"), *units("new", standing=OUT, start=2))
    assert two((*old, *units("new", start=4)), starting) == ([], [])


def test_roles_go_in_proportion() -> None:
    decode = (*units("old", "old"), *units("new", start=2))
    # one of four and one of two: a quarter is paired, which is a whole group of prefill only
    assert two((*units("old", "old", "old", "old"), *units("new", start=4)), decode) == ([3], [])
    assert two((*units("old", "old", "old"), *units("new", "new", start=4)), decode) == ([2], [1])


def test_all_roles_let_go_of_the_same_revision() -> None:
    prefill = (*units("old", "old", "middle", "middle"), *units("new", "new", start=4))
    decode = (*units("old", "middle"), *units("new", start=2))
    assert two(prefill, decode, surge=2) == ([3, 2], [1])


def gone(target: tuple[Unit, ...], keep: int = 0) -> list[int]:
    leaving = Side("serve", 2, 0, keep, units("old", "old", start=10), gone=True)
    sides = (side(target, 2, "decode"), leaving)
    return going(plan(Task("new", "old", 1, 0, sides))["serve"])


def test_a_role_that_is_no_more_stays_until_all_others_are_there() -> None:
    assert gone(()) == []
    assert gone((*units("new"), *units("new", standing=OUT, start=1))) == []
    assert sorted(gone(units("new", "new"))) == [10, 11]
    assert gone(units("new", "new"), keep=2) == []


def test_a_role_that_is_no_more_stays_while_paused() -> None:
    leaving = Side("serve", 2, 0, 0, units("old", "old"), gone=True)
    assert plan(Task("new", "old", 1, 0, (leaving,), paused=True))["serve"] == Step()
