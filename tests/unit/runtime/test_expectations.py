from dataclasses import replace

import pytest

from drumline.core.gang.types import Pod
from drumline.runtime.expectations import Expectations, creation, deletion

POD = Pod(namespace="ns", name="a", uid="u1")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def expectations(clock: Clock) -> Expectations:
    return Expectations(clock, ttl=60)


def test_creation_is_pending_until_the_watch_shows_it(expectations) -> None:
    expectations.expect("job", creation("pods", "ns", "a"))
    expectations.expect("job", creation("pods", "ns", "b"))
    assert (expectations.pending("job"), expectations.pending("other")) == (2, 0)
    expectations.pod_changed(None, POD)
    assert expectations.pending("job") == 1


@pytest.mark.parametrize("shown", [(POD, None), (POD, replace(POD, deleting=True))])
def test_deletion_is_pending_until_the_pod_is_going(expectations, shown) -> None:
    expectations.expect("job", deletion("u1"))
    expectations.pod_changed(POD, replace(POD, ready=True))
    assert expectations.pending("job") == 1
    expectations.pod_changed(*shown)
    assert expectations.pending("job") == 0


def test_deletion_waits_for_the_very_object(expectations) -> None:
    expectations.expect("job", deletion("u1"))
    expectations.pod_changed(replace(POD, uid="u2"), None)
    assert expectations.pending("job") == 1


def test_write_that_was_not_carried_out_is_not_waited_for(expectations) -> None:
    expectations.expect("job", creation("pods", "ns", "a"))
    expectations.met(creation("pods", "ns", "a"))
    expectations.met(creation("pods", "ns", "unknown"))
    assert expectations.pending("job") == 0


def test_what_is_never_seen_expires(expectations, clock) -> None:
    expectations.expect("job", creation("pods", "ns", "a"))
    clock.now += 30
    expectations.expect("job", creation("pods", "ns", "b"))
    clock.now += 30
    assert expectations.pending("job") == 1
    clock.now += 30
    assert expectations.pending("job") == 0


def test_expecting_again_renews(expectations, clock) -> None:
    expectations.expect("job", creation("pods", "ns", "a"))
    clock.now += 59
    expectations.expect("job", creation("pods", "ns", "a"))
    clock.now += 59
    assert expectations.pending("job") == 1


@pytest.mark.parametrize(
    ("cached", "behind"), [("9", True), ("99", True), ("100", False), ("101", False), ("opaque", True)]
)
def test_cache_is_behind_until_it_shows_our_status(expectations, cached: str, behind: bool) -> None:
    expectations.expect_version("job", "100")
    assert expectations.behind("job", cached) is behind


def test_version_expires(expectations, clock) -> None:
    expectations.expect_version("job", "100")
    clock.now += 60
    assert not expectations.behind("job", "9")
    assert not expectations.behind("never", "9")


def test_forgotten_owner_has_nothing_open(expectations) -> None:
    expectations.expect("job", creation("pods", "ns", "a"))
    expectations.expect_version("job", "100")
    expectations.forget("job")
    assert expectations.pending("job") == 0
    assert not expectations.behind("job", "9")
    expectations.pod_changed(None, POD)


def test_a_later_list_meets_what_the_server_had_carried_out(expectations) -> None:
    made, gone = creation("pods", "ns", "a"), deletion("uid")
    for token in (made, gone):
        expectations.expect("job", token)
        expectations.answered(token)
    listed = expectations.listing()
    assert expectations.pending("job") == 2
    listed()
    assert expectations.pending("job") == 0


def test_a_list_says_nothing_of_what_was_answered_after_it_had_begun(expectations) -> None:
    token = creation("pods", "ns", "a")
    expectations.expect("job", token)
    listed = expectations.listing()
    expectations.answered(token)
    listed()
    assert expectations.pending("job") == 1


def test_a_list_says_nothing_of_what_was_expected_anew_since(expectations, clock) -> None:
    token = creation("pods", "ns", "a")
    expectations.expect("job", token)
    expectations.answered(token)
    listed = expectations.listing()
    clock.now += 1
    expectations.expect("job", token)
    expectations.answered(token)
    listed()
    assert expectations.pending("job") == 1


def test_what_was_seen_meanwhile_is_not_answered_any_more(expectations) -> None:
    token = creation("pods", "ns", "a")
    expectations.expect("job", token)
    expectations.met(token)
    expectations.answered(token)
    expectations.listing()()
    assert expectations.pending("job") == 0
