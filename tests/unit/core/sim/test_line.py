from __future__ import annotations

from drumline.core.sim.line import Line, order_of
from tests.builders import gang


def names(line: Line, most: int) -> list[str]:
    return [request.uid for request in line.front(lambda _: most)]


def test_shows_who_may_begin_and_one_that_has_to_wait() -> None:
    line = Line()
    for number in range(5):
        line.join("small", gang(f"s{number}", queued_at=10.0 - number))
    line.join("large", gang("l0", 9))
    assert names(line, 0) == ["s4", "l0"]
    assert names(line, 2) == ["s4", "s3", "s2", "l0"]
    assert len(line) == 6


def test_says_who_is_first_of_its_kind() -> None:
    line = Line()
    assert line.join("k", gang("a", queued_at=5.0))
    assert not line.join("k", gang("b", queued_at=6.0))
    assert line.join("k", gang("c", queued_at=7.0, priority=1))
    assert [order_of(r)[2] for r in line.firsts()] == ["c"]


def test_who_leaves_is_gone() -> None:
    line = Line()
    for uid in "abc":
        line.join("k", gang(uid))
    line.leave("b")
    line.leave("nobody")
    assert names(line, 9) == ["a", "c"]
    assert "b" not in line
    line.leave("a")
    line.leave("c")
    assert not list(line.firsts())


def test_says_which_queues_want_what() -> None:
    line = Line()
    requests = [gang("a", queue="q"), gang("b", queue="q"), gang("c", queue="r")]
    for request in requests:
        line.join(request.queue, request)
    kind = requests[0].accelerator
    assert sorted(line.wanted()) == [("q", kind), ("r", kind)]
    line.leave("a")
    line.leave("c")
    assert list(line.wanted()) == [("q", kind)]
