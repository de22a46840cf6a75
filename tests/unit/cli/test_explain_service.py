"""`kubectl drumline explain` of groups of services, and of which kind a name is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drumline.cli import cluster as access
from drumline.cli import explain as command
from drumline.cli.explain_view import NotWaitingError, explained, explained_service
from drumline.cli.main import main
from drumline.cli.settings import Settings
from tests.unit.cli.test_explain import NOW, cluster
from tests.unit.cli.test_explain_cluster import asking, hosts
from tests.unit.cli.test_explain_queue import queue
from tests.unit.cli.test_queue import service

KEY = ("team", "chat")
GROUP = "chat (serve group 3)"


def with_service(*jobs: dict[str, Any], size: int = 2, **group: Any) -> dict[str, list[Any]]:
    found = {**cluster(*jobs), "nodes": hosts(size), "acceleratorqueues": [queue("blue")]}
    return {**found, "inferenceservices": [service(**group)]}


def test_a_group_that_waits_is_told_as_a_job_is() -> None:
    ahead = asking("ahead", 1, queue="blue")
    found = with_service(ahead, message="InsufficientAccelerators: needs 16", size=1)
    (view,) = explained_service(found, KEY, Settings(), NOW)
    assert (view.name, view.said, view.queue) == (GROUP, "InsufficientAccelerators: needs 16", "blue")
    assert view.found.ever is not None
    assert view.found.ahead == ("team/ahead",)
    (view,) = explained_service(with_service(), KEY, Settings(), NOW)
    assert view.found.refusal is None


def test_a_group_without_a_queue_stands_in_no_line() -> None:
    found = with_service()
    found["acceleratorqueues"] = [queue("other")]
    (view,) = explained_service(found, KEY, Settings(), NOW)
    assert view.lost is not None
    assert view.lost.refusal.reason == "QueueNotFound"
    assert view.lost.change.endswith("that is for namespace team: other")


def test_a_group_that_holds_nodes_waits_for_nothing_and_holds_them() -> None:
    found = with_service(asking("mine", 30, queue="blue"), nodes=["n0", "n1"], queue="blue")
    with pytest.raises(NotWaitingError, match="team/chat: no group of this service waits"):
        explained_service(found, KEY, Settings(), NOW)
    refusal = explained(found, ("team", "mine"), Settings(), NOW).found.refusal
    assert refusal is not None
    assert refusal.reason == "QueueQuotaExceeded"
    free = {**found, "acceleratorqueues": [], "trainingjobs": [asking("mine", 30)]}
    refusal = explained(free, ("team", "mine"), Settings(), NOW).found.refusal
    assert refusal is not None, "its nodes are taken before its pods are there"
    assert refusal.reason == "InsufficientAccelerators"
    with pytest.raises(KeyError):
        explained_service(found, ("team", "none"), Settings(), NOW)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What every list call finds."""
    found = with_service(asking("mine", 30), asking("both", 30))
    both = service()
    both["metadata"] |= {"name": "both", "uid": "b"}
    found["inferenceservices"].append(both)
    monkeypatch.setattr(access, "access_of", lambda _: None)
    monkeypatch.setattr(access, "list_each", lambda _, wanted: {r: found.get(r, []) for r in wanted})
    monkeypatch.setattr(command, "now", lambda: NOW)
    return found


@pytest.mark.usefixtures("read")
def test_a_name_may_say_of_which_kind_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    def run(name: str, *more: str) -> tuple[int, str, str]:
        code = main(["explain", name, "-n", "team", *more])
        told = capsys.readouterr()
        return code, told.out, told.err

    code, out, _ = run("service/chat")
    assert (code, out.splitlines()[0]) == (0, f"team/{GROUP} waits")
    data = json.loads(run("chat", "-o", "json")[1])
    assert [g["name"] for g in data["groups"]] == [GROUP]
    assert json.loads(run("job/mine", "-o", "json")[1])["name"] == "mine"
    assert run("both")[0] == 2
    assert "say trainingjob/both or inferenceservice/both" in run("both")[2]
    assert run("job/both")[1].startswith("team/both waits")
    assert run("pod/x")[0] == 2
    assert run("none")[2] == "error: TrainingJob or InferenceService team/none not found\n"
    assert run("job/chat")[::2] == (3, "error: TrainingJob team/chat not found\n")
