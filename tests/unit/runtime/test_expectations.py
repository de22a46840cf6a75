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


def test_of_nobody_is_all_shown_while_the_cache_is_to_be_listed_anew(expectations) -> None:
    expectations.blind = lambda: True
    assert expectations.pending("another leader's")
    expectations.blind = lambda: False
    assert not expectations.pending("another leader's")


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


@pytest.mark.parametrize(("listed", "pending"), [("99", 1), ("100", 0), ("101", 0)])
def test_a_list_as_new_as_a_creation_meets_it(expectations, listed: str, pending: int) -> None:
    token = creation("pods", "ns", "a")
    expectations.expect("job", token)
    expectations.made(token, "100")
    expectations.listed(listed)
    assert expectations.pending("job") == pending


def test_a_list_says_nothing_of_a_creation_that_is_still_under_way(expectations) -> None:
    expectations.expect("job", creation("pods", "ns", "a"))
    expectations.listed("100")
    assert expectations.pending("job") == 1


def test_a_list_says_nothing_of_what_is_expected_anew(expectations) -> None:
    token = creation("pods", "ns", "a")
    expectations.expect("job", token)
    expectations.made(token, "100")
    expectations.expect("job", token)
    expectations.listed("101")
    assert expectations.pending("job") == 1


def test_what_was_seen_before_its_answer_came_is_not_remembered(expectations) -> None:
    token = creation("pods", "ns", "a")
    expectations.expect("job", token)
    expectations.met(token)
    expectations.made(token, "100")
    expectations.expect("job", token)
    expectations.listed("100")
    assert expectations.pending("job") == 1
