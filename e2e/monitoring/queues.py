"""The panels of AcceleratorQueues on the dashboard of queue and capacity."""

from typing import Any

from e2e.monitoring import panels as p


def queue_panels() -> list[Any]:
    """Who waits, how quotas are used, who borrows."""
    return [
        p.graph(
            "Gangs that wait, by queue",
            "Gangs in the line of each AcceleratorQueue.",
            "none",
            p.query("max by (queue) (drumline_queue_pending_gangs)", "{{queue}}"),
            stacked=True,
        ),
        p.graph(
            "Use of quotas",
            "Chips that count in a queue over its own quota; above 100% it borrows.",
            "percentunit",
            p.query(
                "max by (queue, accelerator) (drumline_queue_used_accelerators)"
                " / max by (queue, accelerator) (drumline_queue_nominal_accelerators > 0)",
                "{{queue}} {{accelerator}}",
            ),
        ),
        p.graph(
            "Borrowed and lent",
            "Chips that queues take of others' quotas, and leave to them.",
            "none",
            p.query(
                "max by (queue, accelerator) (drumline_queue_borrowed_accelerators)",
                "{{queue}} {{accelerator}} borrowed",
            ),
            p.query(
                "max by (queue, accelerator) (drumline_queue_lent_accelerators)",
                "{{queue}} {{accelerator}} lent",
            ),
        ),
        *_queue_states(),
    ]


def _queue_states() -> list[Any]:
    return [
        p.table(
            "Queues",
            "Whether it can be used, gangs that count, weighted share of what the cohort lends, preempted gangs.",
            {
                "active": "max by (queue) (drumline_queue_active)",
                "gangs": "max by (queue) (drumline_queue_admitted_gangs)",
                "share": "max by (queue) (drumline_queue_weighted_share)",
                "preempted": "max by (queue) (drumline_queue_preempted_gangs_total)",
            },
            width=12,
        ),
        p.graph(
            "Wait of the first in line",
            "Since the first gang of each queue has joined it.",
            "s",
            p.query(
                "time() - max by (queue) (drumline_queue_head_since_timestamp_seconds)",
                "{{queue}}",
            ),
        ),
    ]
