"""What a decision collects is a copy each time, and the soonest look counts."""

from __future__ import annotations

from dataclasses import dataclass

from drumline.core.gang.course import Course
from drumline.core.gang.plan import Delete, Event


@dataclass(frozen=True, slots=True)
class Decision(Course):
    """About something."""

    about: str


GONE = Delete("pods", "ns", "a", "u")


def test_nothing_is_changed_in_place_and_the_kind_of_view_stays() -> None:
    first = Decision("job")
    second = first.act(GONE).event("Normal", "Because", "so").done("policy")
    assert (first.actions, first.events, first.ended) == ((), (), "")
    assert second == Decision(
        "job", actions=((GONE,),), events=(Event("Normal", "Because", "so"),), ended="policy"
    )


def test_an_empty_stage_is_none() -> None:
    assert Decision("job").act().actions == ()
    assert Decision("job").act(GONE).act().act(GONE).actions == ((GONE,), (GONE,))


def test_the_soonest_look_counts_and_none_lies_in_the_past() -> None:
    view = Decision("job")
    assert view.again_in(None).requeue_after is None
    assert view.again_in(5).again_in(9).again_in(None).requeue_after == 5
    assert view.again_in(5).again_in(-1).requeue_after == 0
