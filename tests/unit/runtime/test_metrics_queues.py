"""Metrics of queues are what their statuses say."""

from __future__ import annotations

from collections import Counter

from drumline.core.gang.queue_report import Facts
from drumline.core.gang.queues import Queue, QueueQuota, Queues, RunningGang
from drumline.runtime.metrics import read_samples
from drumline.runtime.metrics_queues import OF_QUEUES, QueueSight, queue_lines
from tests.builders import H100, gang


def sight() -> QueueSight:
    queues = {
        "poor": Queue("poor", "all", quotas={H100: QueueQuota(2)}),
        "rich": Queue("rich", "all", weight=0, quotas={H100: QueueQuota(6)}),
    }
    facts = Facts.of(Queues(queues, {"g": RunningGang("g", "poor", H100, 4)}))
    return QueueSight(
        queues, facts, Counter(rich=2), {"rich": gang("h", queued_at=12.5)}, {"poor": 3}, frozenset({"poor"})
    )


def test_every_family_has_its_samples() -> None:
    lines = list(queue_lines(sight))
    assert [line for line in lines if line.startswith("#")] == [family.head for family in OF_QUEUES]
    samples = [line for line in lines if not line.startswith("#")]
    kind = f'accelerator="{H100}"'
    for line in (
        'drumline_queue_active{queue="poor"} 0\n',
        'drumline_queue_active{queue="rich"} 1\n',
        'drumline_queue_pending_gangs{queue="rich"} 2\n',
        'drumline_queue_admitted_gangs{queue="poor"} 1\n',
        'drumline_queue_head_since_timestamp_seconds{queue="rich"} 12.500\n',
        'drumline_queue_weighted_share{queue="poor"} 0.25\n',
        'drumline_queue_preempted_gangs_total{queue="poor"} 3\n',
        f'drumline_queue_nominal_accelerators{{queue="rich",{kind}}} 6\n',
        f'drumline_queue_used_accelerators{{queue="poor",{kind}}} 4\n',
        f'drumline_queue_borrowed_accelerators{{queue="poor",{kind}}} 2\n',
        f'drumline_queue_lent_accelerators{{queue="rich",{kind}}} 2\n',
    ):
        assert line in samples
    assert not any("head_since" in line and "poor" in line for line in samples)


def test_prometheus_can_read_them() -> None:
    assert len(list(read_samples("".join(queue_lines(sight))))) == 2 * len(OF_QUEUES) - 1
