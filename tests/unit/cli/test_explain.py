"""`kubectl drumline explain`: how it is put into words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drumline.cli.explain_text import told
from drumline.cli.explain_view import WANTED, ExplainView, NotWaitingError, explained, raw
from drumline.cli.settings import Settings
from drumline.cli.terminal import Terminal
from drumline.core.gang.explain import Explanation, Holder
from drumline.core.gang.standing import waits_for
from drumline.core.gang.topology_config import topology_of
from drumline.core.gang.types import Refusal

NOW = 1_800_000_000.0
SHORT = Refusal("InsufficientAccelerators", "needs 8 × h100; 0 free")
WIDE = Terminal(width=400, unicode=True)
HOLDER = Holder("u", "team/other", 3, 16, 90.0, NOW + 60)


def view(found: Explanation, **more: Any) -> ExplainView:
    return replace(ExplainView("team", "mine", "Queued: in line", found, NOW), **more)


def test_a_gang_that_has_to_wait_for_others() -> None:
    ahead = tuple(f"team/j{i}" for i in range(7))
    text = told(view(Explanation(SHORT, None, ahead, (HOLDER,), NOW + 60)), WIDE)
    assert text.splitlines() == [
        "team/mine waits",
        "  Operator: Queued: in line",
        "  Now:      InsufficientAccelerators: needs 8 × h100; 0 free",
        (
            "  In line:  number 8 of those that want this accelerator; before it team/j0, team/j1, team/j2, team/j3, "
            "team/j4, 2 more"
        ),
        (
            "  To begin: at once, these would have to end: team/other (16 accelerators, priority 3, 1m 30s of work not "
            "saved)"
        ),
        (
            "  When:     by 2027-01-15T08:01:00Z (in 1m 00s) at the latest, by the deadlines of others and of those "
            "before it, if nobody else takes the room"
        ),
    ]


def test_what_cannot_be_told_is_said() -> None:
    text = told(view(Explanation(SHORT, None, endless=("team/a", "team/b"))), WIDE)
    assert "others have to end by themselves" in text
    assert (
        "no telling: of those that hold nodes or stand before it these have no deadline: team/a, team/b"
        in text
    )
    assert "no telling: others' deadlines free too little" in told(view(Explanation(SHORT, None)), WIDE)
    crowd = tuple(f"team/j{i}" for i in range(101))
    assert "no telling: more than 100 stand before it" in told(view(Explanation(SHORT, None, crowd)), WIDE)


def test_one_that_never_fits_and_one_that_fits_now() -> None:
    never = told(view(Explanation(SHORT, SHORT)), WIDE)
    assert never.splitlines()[-1].startswith("  Ever:     not in this cluster: needs 8")
    now = told(view(Explanation(None, None), said=""), Terminal())
    assert now.splitlines() == [
        "team/mine waits",
        "  Now:      there is room for it",
        "  In line:  number 1 of those that want this accelerator",
    ]


def test_whom_its_queue_has_leave() -> None:
    found = view(Explanation(SHORT, None, victims=(HOLDER,)), queue="blue")
    text = told(found, WIDE)
    assert "  Queue:    blue" in text.splitlines()
    assert "by the right of its queue these leave for it" in text
    assert "team/other (16 accelerators" in text
    assert [h["name"] for h in raw(found)["preempts"]] == ["team/other"]
    assert "  When:     as soon as these have left" in text.splitlines()


def test_whom_its_queue_may_have_leave_later_is_part_of_the_estimate() -> None:
    later = Explanation(
        SHORT, None, leavers=(HOLDER,), preempts_at=NOW + 90, later=(HOLDER,), endless=("team/e",)
    )
    soon = told(view(later, queue="blue"), WIDE)
    when = "from 2027-01-15T08:01:30Z (in 1m 30s) on its queue may have these leave for it: team/other"
    assert f"  When:     {when}; no telling otherwise: of those" in soon
    behind = told(view(replace(later, ahead=("team/a",), by=NOW + 100, endless=()), queue="blue"), WIDE)
    assert "leave for it if those before it leave them to it: team/other; by 2027-01-15T08:01:40Z" in behind
    assert "at the latest, by the deadlines of others and of those before it" in behind
    data = raw(view(later))
    assert (data["preemptsFrom"], [h["name"] for h in data["wouldPreempt"]]) == (NOW + 90, ["team/other"])


def test_as_data() -> None:
    found = raw(view(Explanation(SHORT, None, ("team/a",), (HOLDER,), NOW)))
    assert found["wouldHaveToEnd"] == [
        {"name": "team/other", "accelerators": 16, "priority": 3, "unsavedSeconds": 90}
    ]
    assert (found["fitsNow"], found["ahead"], found["latest"]) == (False, ["team/a"], NOW)


def job(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "train", "image": "example.org/train:1"}]}}
    whole = {"accelerator": {"type": "nvidia-h100-80gb"}, "template": template, **spec}
    metadata = {"name": "mine", "namespace": "team", "uid": "u", "resourceVersion": "1"}
    return {"metadata": metadata, "spec": whole}


def cluster(*jobs: dict[str, Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {resource: [] for resource in WANTED}
    return {**found, "trainingjobs": list(jobs)}


@pytest.mark.parametrize(
    ("spec", "text"),
    [({"suspend": True}, "does not wait for admission"), ({"slices": 0}, "is not valid: spec.slices")],
)
def test_a_job_that_waits_for_no_admission(spec: dict[str, Any], text: str) -> None:
    with pytest.raises(NotWaitingError, match=text):
        explained(cluster(job(**spec)), ("team", "mine"), Settings(), NOW)


def test_a_job_that_somebody_else_admits_asks_for_nothing_here() -> None:
    ready = {"type": "PodsReady", "status": "False", "reason": "QueueQuotaExceeded", "message": "at the gate"}
    ready["lastTransitionTime"] = "2026-11-20T10:00:00Z"
    placement = {"revision": "mine-1", "hash": "h", "pods": 1, "backend": "kueue"}
    attempts = [{"attempt": 1, "startedAt": "2026-11-20T10:00:00Z"}]
    status = {"attempt": 1, "attempts": attempts, "placement": placement, "conditions": [ready]}
    asked = ("team", "mine"), Settings(), NOW
    with pytest.raises(NotWaitingError, match="is left to kueue, which says: at the gate"):
        explained(cluster({**job(), "status": status}), *asked)
    with pytest.raises(NotWaitingError, match="is left to volcano"):
        explained(cluster(job(scheduling={"backend": "volcano"})), *asked)
    with pytest.raises(NotWaitingError, match="does not wait for admission"):
        explained(cluster(job(scheduling={"backend": "volcano"}, suspend=True)), *asked)


def test_a_job_that_no_operator_has_looked_at() -> None:
    found = explained(cluster(job()), ("team", "mine"), Settings(), NOW)
    assert (found.said, found.found.ever is not None) == ("", True)
    with pytest.raises(KeyError):
        explained(cluster(job()), ("team", "other"), Settings(), NOW)


def test_levels_of_ones_own_are_known() -> None:
    wish = {"scheduling": {"placement": {"policy": "Required", "level": "rack"}}}
    asked = cluster(job(**wish)), ("team", "mine"), Settings(), NOW
    topology, _ = topology_of(
        [{"name": "hall", "levels": [{"name": "rack", "label": "example.com/rack"}]}], ""
    )
    assert "no topology level is called 'rack'" in raw(explained(*asked))["message"]
    assert "no topology level" not in raw(explained(*asked[:2], Settings(topology=topology), NOW))["message"]


def test_who_is_ahead_is_so_by_the_operators_patience() -> None:
    mine, other = job(), job(priorityClassName="high")
    mine["metadata"]["creationTimestamp"] = "2027-01-15T07:00:00Z"  # an hour ago
    other["metadata"] |= {"name": "other", "uid": "o", "creationTimestamp": "2027-01-15T07:59:00Z"}
    found = cluster(mine, other)
    found["priorityclasses"] = [{"metadata": {"name": "high"}, "value": 1000}]
    patient, impatient = (
        explained(found, ("team", "mine"), Settings(aging=seconds), NOW) for seconds in (0.0, 3600.0)
    )
    assert (patient.found.ahead, impatient.found.ahead) == (("team/other",), ())
    assert (raw(patient)["aged"], raw(impatient)["aged"]) == (False, True)
    shown = replace(impatient, found=replace(impatient.found, ever=None))
    assert "it has waited for 1h 00m, so no priority goes before it" in told(shown, WIDE)
    leave = {"type": "QuotaReserved", "status": "False", "reason": "InsufficientAccelerators"}
    leave |= {"message": waits_for("needs 8", 1), "lastTransitionTime": "2027-01-15T07:59:00Z"}
    other["status"] = {"conditions": [leave]}
    served = explained(found, ("team", "mine"), Settings(aging=3600.0), NOW)
    assert served.found.ahead == ("team/other",)
