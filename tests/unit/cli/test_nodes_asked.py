"""What the plugin and the lanes of the ledger make of a job that asks for nodes by a ProvisioningRequest."""

from __future__ import annotations

import pytest

from drumline.api.catalog import Catalog
from drumline.api.goodput import State
from drumline.cli.explain_view import NotWaitingError, explained
from drumline.cli.offline import job_of, plan_offline
from drumline.cli.settings import Settings
from drumline.cli.why_view import _next
from drumline.core.training.lanes import lane_histories
from drumline.core.training.provisioned import CONSUMES
from tests.unit.cli import test_explain, test_queue
from tests.unit.core.training.jobs import TEMPLATE
from tests.unit.core.training.nodes_asked import ASKED, CLASS, asking, provisioned

SPEC = {
    "accelerator": {"type": "nvidia-h100-80gb"},
    "workersPerSlice": 2,
    "template": TEMPLATE,
    "scheduling": {"provisioning": {"mode": "ProvisioningRequest", "className": CLASS}},
}


def test_a_plan_has_the_request_and_the_pods_that_consume_it() -> None:
    job = job_of({"metadata": {"name": "big"}, "spec": SPEC}, "ns", Catalog.default())
    objects = plan_offline(job, Catalog.default()).objects
    kinds = [
        (remark, m["kind"]) for remark, m in objects if m["kind"] in ("PodTemplate", "ProvisioningRequest")
    ]
    remark = "created when the gang was refused nodes for 30 s"
    assert kinds == [(remark, "PodTemplate"), (remark, "ProvisioningRequest")]
    pods = [m for _, m in objects if m["kind"] == "Pod"]
    assert [p["metadata"]["annotations"][CONSUMES] for p in pods] == ["big-nodes-1"] * 2


def test_why_says_what_is_waited_for() -> None:
    waits, has = asking()[0].status, provisioned().status
    assert "ProvisioningRequest job-nodes-1 asks for its nodes since" in _next(waits, ASKED)
    assert _next(waits, ASKED).endswith("attempt 1 once it is provisioned")
    assert _next(has, ASKED).endswith("attempt 1 once the nodes are seen that it brought")


def test_the_ledger_knows_that_nothing_is_held_meanwhile() -> None:
    for obs in (asking()[0], provisioned()):
        lanes = lane_histories(obs, obs.status, ASKED + 200)
        assert [history[-1][1] for history in lanes] == [State.PROVISIONING] * 4


def test_explain_says_that_nodes_are_asked_for() -> None:
    status = asking()[0].status.to_json()
    found = test_explain.cluster({**test_explain.job(), "status": status})
    text = "has its quota, and its nodes are asked for: ProvisioningRequest job-nodes-1 of class"
    with pytest.raises(NotWaitingError, match=text):
        explained(found, ("team", "mine"), Settings(), ASKED)


def test_its_queue_counts_it() -> None:
    status = {**asking(queue="blue")[0].status.to_json()}
    view = test_queue.read(test_queue.BLUE, jobs=[test_queue.job("mine", status=status)])
    (held,) = view.queues[0].holds
    assert (held.name, held.since) == ("team/mine", pytest.approx(ASKED))
    assert view.line == ()
