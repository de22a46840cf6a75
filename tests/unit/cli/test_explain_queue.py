"""`kubectl drumline explain` of jobs whose queue can't be told, or lets nobody pass whom it waits for."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.cli.explain_text import told
from drumline.cli.explain_view import explained, raw
from drumline.cli.settings import Settings
from drumline.cli.terminal import Terminal
from tests.unit.cli.test_explain import NOW, cluster, job

WIDE = Terminal(width=400, unicode=True)
SELECTOR = {"matchLabels": {"team": "blue"}}


def queue(name: str, **spec: Any) -> dict[str, Any]:
    quotas = [{"accelerator": "nvidia-h100-80gb", "nominalQuota": 16}]
    metadata = {"name": name, "uid": name, "generation": 1}
    return {"metadata": metadata, "spec": {"namespaceSelector": {}, "quotas": quotas, **spec}}


def with_queues(*queues: dict[str, Any], jobs: tuple[dict[str, Any], ...]) -> dict[str, list[Any]]:
    found = cluster(*jobs)
    found["acceleratorqueues"] = list(queues)
    found["namespaces"] = [{"metadata": {"name": "team", "uid": "t", "labels": {"team": "red"}}}]
    return found


@pytest.mark.parametrize(
    ("spec", "queues", "reason", "change"),
    [
        (
            {"queue": "lost"},
            [queue("one"), queue("closed", namespaceSelector=SELECTOR)],
            "QueueNotFound",
            "create AcceleratorQueue lost, or name a queue in spec.queue that is for namespace team: one",
        ),
        (
            {"queue": "closed"},
            [queue("closed", namespaceSelector=SELECTOR), queue("one")],
            "QueueNotAllowed",
            "have the namespaceSelector of AcceleratorQueue closed select namespace team, or name a queue in spec.queue",
        ),
        (
            {"queue": "closed"},
            [queue("closed", namespaceSelector=SELECTOR)],
            "QueueNotAllowed",
            "that is for namespace team: there is none",
        ),
        (
            {},
            [queue("one", default=True), queue("two", default=True)],
            "QueueAmbiguous",
            "leave the namespace one default queue, or name a queue in spec.queue that is for namespace team: one, two",
        ),
    ],
)
def test_a_job_whose_queue_cannot_be_told_stands_in_no_line(
    spec: dict[str, Any], queues: list[dict[str, Any]], reason: str, change: str
) -> None:
    found = with_queues(*queues, jobs=(job(**spec),))
    view = explained(found, ("team", "mine"), Settings(), NOW)
    lines = told(view, WIDE).splitlines()
    now = next(line for line in lines if line.startswith("  Now:"))
    begin = next(line for line in lines if line.startswith("  To begin:"))
    assert now.startswith(f"  Now:      it stands in no line: {reason}: ")
    assert change in begin
    assert not [line for line in lines if line.startswith(("  In line:", "  When:", "  Ever:"))]
    data = raw(view)
    assert (data["fitsNow"], data["reason"], data["inLine"]) == (False, reason, False)
    assert (data["ahead"], data["wouldHaveToEnd"]) == ([], [])
