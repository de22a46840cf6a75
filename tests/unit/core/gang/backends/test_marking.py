"""Marks go on copies, and what is missing afterwards is named."""

from drumline.core.gang.backends import marking
from tests.unit.core.gang.backends.facts import FACTS, LATER, pod


def test_marks_go_on_a_copy():
    before = pod()
    after = marking.marked(
        before, labels={"a": "1"}, annotations={"b": "2"}, scheduler="s", priority_class="p"
    )
    assert before == pod()
    assert after["metadata"]["labels"] == {"drumline.dev/job": "llama", "a": "1"}
    assert after["metadata"]["annotations"] == {"b": "2"}
    assert (after["spec"]["schedulerName"], after["spec"]["priorityClassName"]) == ("s", "p")


def test_without_marks_a_pod_stays_as_it_is():
    assert marking.marked(pod()) == pod()


def test_what_was_dropped_is_named():
    sent = marking.marked(pod(), labels={"a": "1"}, annotations={"b": "2"}, scheduler="s")
    assert marking.dropped(sent, sent, ("a", "b")) == ""
    assert marking.dropped(sent, marking.marked(sent, labels={"a": "0"}), ("a", "b")) == "label a"
    assert marking.dropped(sent, marking.marked(sent, annotations={"b": ""}), ("a", "b")) == "annotation b"
    assert marking.dropped(sent, marking.marked(sent, scheduler="other"), ("a", "b")) == "schedulerName"
    assert marking.dropped(pod(), pod(), ("a", "b")) == ""


def test_who_starts_together():
    assert [marking.together(FACTS, i) for i in (0, 3, LATER)] == [True, True, False]


def test_the_sum_of_requests_is_in_quantities():
    assert marking.total(FACTS) == {"cpu": "4", "memory": "2Gi", "nvidia.com/gpu": "16"}


def test_words_fit_on_a_line():
    assert marking.words("no\n room.") == "no room"
    assert marking.words(None) == ""
    assert len(marking.words("x" * 1000)) == marking.MAX_WORDS
