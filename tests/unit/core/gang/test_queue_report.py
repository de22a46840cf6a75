"""What a queue's status says."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.errors import FieldError
from drumline.api.queue import AcceleratorQueueStatus
from drumline.api.reasons import Reason
from drumline.api.validation_queue import parse_queue
from drumline.core.gang.queue_choice import QueueEntry
from drumline.core.gang.queue_quota import QueueQuotas
from drumline.core.gang.queue_report import Facts, Faults, Lines, heads, lent, report, share_text
from drumline.core.gang.queues import Queue, QueueQuota, Queues, RunningGang, queue_of
from drumline.core.gang.types import Refusal
from tests.builders import H100, gang

NOW = 1_800_000_000.0
EMPTY = AcceleratorQueueStatus()


def entry(name: str = "a", **raw: Any) -> QueueEntry:
    spec, errors = parse_queue({"namespaceSelector": {}, **raw})
    return QueueEntry(name, spec, "; ".join(map(str, errors)))


def facts(*made: QueueEntry, **used: int) -> Facts:
    queues = {e.name: queue_of(e.name, e.spec) if e.spec is not None else Queue(e.name) for e in made}
    running = {n: RunningGang(n, n, H100, chips) for n, chips in used.items()}
    return Facts.of(Queues(queues, running), {H100: 700.0})


def quota(chips: int, **limits: int) -> list[dict[str, Any]]:
    return [{"accelerator": H100, "nominalQuota": chips, **limits}]


def test_who_waits_and_who_is_first() -> None:
    requests = [
        gang("late", queue="a", queued_at=3.0),
        gang("first", queue="a", queued_at=1.0),
        gang("high", queue="b", queued_at=9.0, priority=5),
        gang("low", queue="b", queued_at=0.0),
        gang("free"),
    ]
    pending, first = heads(requests)
    assert (pending["a"], pending["b"], pending[""]) == (2, 2, 0)
    assert {name: head.uid for name, head in first.items()} == {"a": "first", "b": "high"}


def test_a_status_tells_usage_share_and_why_the_head_waits() -> None:
    a = entry("a", cohort="all", quotas=quota(4), fairSharing={"weight": 2})
    b = entry("b", cohort="all", quotas=quota(12, lendingLimit=4))
    lines = Lines(3, gang("g", queued_at=NOW - 60), Refusal(Reason.QUEUE_QUOTA, "needs more"))
    found = report(a, 7, facts(a, b, a=6), lines, Faults(), EMPTY, NOW)
    assert (found.pending, found.admitted, found.observed_generation, found.share) == (3, 1, 7, "0.125")
    (usage,) = found.usage
    assert (usage.nominal, usage.used, usage.borrowed, usage.lent, usage.watts) == (4, 6, 2, 0, 4200)
    assert found.head is not None
    assert (found.head.job, found.head.reason, found.head.message) == (
        "team/g",
        "QueueQuotaExceeded",
        "needs more",
    )
    other = report(b, 1, facts(a, b, a=6), Lines(), Faults(), EMPTY, NOW)
    assert (other.usage[0].lent, other.head, other.share) == (2, None, "0")


def test_a_queue_of_no_cohort_has_no_share() -> None:
    made = entry(quotas=quota(4))
    assert report(made, 1, facts(made), Lines(), Faults(), EMPTY, NOW).share is None


def test_a_head_that_has_not_been_answered_is_queued() -> None:
    made = entry(quotas=quota(4))
    found = report(made, 1, facts(made), Lines(1, gang("g")), Faults(), EMPTY, NOW)
    assert found.head is not None
    assert found.head.reason == "Queued"


def verdict(made: QueueEntry, faults: Faults = Faults()) -> tuple[str, str, str]:  # noqa: B008 - immutable
    (condition,) = report(made, 1, facts(made), Lines(), faults, EMPTY, NOW).conditions
    return condition.status, condition.reason, condition.message


def test_the_condition_says_whether_it_can_be_used() -> None:
    assert verdict(entry())[:2] == ("True", "QueueActive")
    assert "no namespace may use it" in verdict(entry(namespaceSelector=None))[2]
    status, reason, message = verdict(entry(maxRunSeconds=0))
    assert (status, reason) == ("False", "InvalidSpec")
    assert "spec.maxRunSeconds" in message
    status, reason, message = verdict(entry(default=True), Faults(rivals=("team", ("b", "c"))))
    assert (status, reason) == ("False", "QueueAmbiguous")
    assert "queue b, c is the default of namespace team too" in message
    unseen = Faults(unseen="namespaces is forbidden")
    assert verdict(entry(), unseen) == ("False", "NamespacesUnknown", "namespaces is forbidden")
    unknown = Faults(unknown=(FieldError("spec.quotas[0].accelerator", "unknown accelerator 'x'"),))
    assert verdict(entry(), unknown)[:2] == ("False", "UnknownAccelerator")


def test_a_transition_keeps_its_time_while_nothing_changes() -> None:
    made = entry()
    first = report(made, 1, facts(made), Lines(), Faults(), EMPTY, NOW)
    again = report(made, 1, facts(made), Lines(), Faults(), first, NOW + 60)
    assert again == first


def test_shares_are_short_decimals() -> None:
    texts = [share_text(share) for share in (0.0, 0.5, 1 / 3, 1.0, float("inf"))]
    assert texts == ["0", "0.5", "0.3333", "1", "inf"]


AMOUNTS = st.integers(0, 20)


@settings(max_examples=40)
@given(st.lists(st.tuples(AMOUNTS, st.none() | AMOUNTS, AMOUNTS), min_size=1, max_size=5))
def test_what_is_lent_is_what_is_borrowed_as_far_as_there_is_any(
    rows: list[tuple[int, int | None, int]],
) -> None:
    queues = {
        str(n): Queue(str(n), "all", quotas={H100: QueueQuota(nominal, None, lends)})
        for n, (nominal, lends, _) in enumerate(rows)
    }
    running = {str(n): RunningGang(str(n), str(n), H100, used) for n, (_, _, used) in enumerate(rows)}
    quotas = QueueQuotas(Queues(queues, running))
    found = lent(queues.values(), quotas)
    idle = {
        n: min(q.quotas[H100].lendable, max(0, q.quotas[H100].nominal - quotas.used(n, H100)))
        for n, q in queues.items()
    }
    borrowed = sum(quotas.borrowed(name, H100) for name in queues)
    assert sum(found.values()) == min(borrowed, sum(idle.values()))
    assert all(0 <= chips <= idle[name] for (name, _), chips in found.items())


def test_the_condition_is_of_the_generation_that_was_looked_at() -> None:
    made = entry(quotas=quota(4))
    first = report(made, 1, facts(made), Lines(), Faults(), EMPTY, NOW)
    second = report(made, 2, facts(made), Lines(), Faults(), first, NOW + 60)
    assert [c.observed_generation for c in (*first.conditions, *second.conditions)] == [1, 2]
    assert second.conditions[0].last_transition_time == first.conditions[0].last_transition_time
    assert report(made, 2, facts(made), Lines(), Faults(), second, NOW + 90) == second
