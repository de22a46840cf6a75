"""What pods count for is on the pods, and can be read off them again."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.api.meta import ANNOTATION_QUOTA
from drumline.core.gang.charges import charge_of, charged
from drumline.core.gang.lazy import rendered
from drumline.core.gang.plan import Create
from drumline.core.gang.projection import project_pod
from drumline.core.gang.types import Charge, Granted
from drumline.core.training.decide import decide
from tests.builders import H100
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

CHARGE = Charge("research", H100, 8)
POD: dict[str, Any] = {"metadata": {"name": "a", "annotations": {"mine": "1"}}}


def test_what_is_written_is_read() -> None:
    pod = charged(POD, CHARGE)
    assert pod["metadata"]["annotations"] == {"mine": "1", ANNOTATION_QUOTA: f"research/{H100}/8"}
    assert charge_of(pod["metadata"]["annotations"]) == CHARGE
    assert POD["metadata"]["annotations"] == {"mine": "1"}


@pytest.mark.parametrize("charge", [None, Charge("", H100, 8), Charge("q", H100, 0)])
def test_who_counts_for_nothing_says_nothing(charge: Charge | None) -> None:
    assert charged(POD, charge) is POD


@pytest.mark.parametrize("charge", [None, Charge("", H100, 8)])
def test_a_template_has_no_pod_count_for_anything(charge: Charge | None) -> None:
    pod = {"metadata": {"name": "a", "annotations": {"mine": "1", ANNOTATION_QUOTA: "others/h100/999999"}}}
    assert charged(pod, charge) == POD
    assert charged(pod, CHARGE)["metadata"]["annotations"][ANNOTATION_QUOTA] == f"research/{H100}/8"


@pytest.mark.parametrize(
    ("spec", "chips"),
    [
        ({}, None),
        ({"limits": {"cpu": "64", "hugepages-2Mi": "1Gi"}}, None),
        ({"limits": {"nvidia.com/gpu": "2"}}, 2),
        ({"limits": {"nvidia.com/gpu": "1000000"}}, 1024),
        ({"claims": [{"name": "gpus"}]}, 1024),
    ],
)
def test_a_pod_counts_for_no_more_than_it_asks_for(spec: dict[str, Any], chips: int | None) -> None:
    labels = {"drumline.dev/job": "j", "drumline.dev/attempt": "1", "drumline.dev/worker": "0"}
    owner = {"apiVersion": "drumline.dev/v1alpha1", "kind": "TrainingJob", "uid": "u", "controller": True}
    text = {ANNOTATION_QUOTA: "others/h100/999999"}
    metadata = {"name": "p", "labels": labels, "ownerReferences": [owner], "annotations": text}
    claims = [{"name": "gpus"}] if "claims" in spec else None
    containers = [{"name": "c", "resources": {**spec, "requests": spec.get("limits")}}]
    member = project_pod(
        {"metadata": metadata, "spec": {"containers": containers, "resourceClaims": claims}}
    ).member
    assert member is not None
    assert member.charge == (Charge("others", "h100", chips) if chips else None)


@pytest.mark.parametrize(
    "text", ["", "q", "q/h100", "q//8", "/h100/8", "q/h100/many", "q/h100/-8", "q/h100/" + "9" * 9]
)
def test_what_somebody_else_wrote_counts_for_nothing(text: str) -> None:
    assert charge_of({ANNOTATION_QUOTA: text}) is None
    assert charge_of(None) is None


def test_workers_of_a_gang_in_a_queue_say_it_and_helpers_do_not() -> None:
    helpers = [{"name": "loader", "template": jobs.TEMPLATE}]
    accelerator = {"type": H100, "chipsPerWorker": 2}
    raw = jobs.spec(accelerator=accelerator, slices=1, framework="torch", helpers=helpers)
    for queue, wanted in (("research", Charge("research", H100, 2)), ("", None)):
        job = jobs.job(raw, queue=queue)
        plan = decide(jobs.replace(job, admission=Granted(jobs.placement(job), queue=queue)), NOW)
        creates = (a for stage in plan.actions for a in stage if isinstance(a, Create))
        made = [rendered(a.manifest) for a in creates if a.resource == "pods"]
        members = [project_pod(pod).member for pod in made]
        assert [m.charge for m in members if m is not None] == [wanted, wanted, None]
