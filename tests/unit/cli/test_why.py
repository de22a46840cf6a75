"""``kubectl drumline why`` on files, from end to end in this process."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from drumline.api.status import TrainingJobStatus
from drumline.cli import cluster, why
from drumline.cli.cluster import OK, UNREACHABLE
from drumline.cli.main import main
from drumline.cli.terminal import Terminal
from drumline.cli.why import ABSENT, INVALID
from drumline.cli.why_text import screen
from drumline.cli.why_view import NoStatusError, why_of
from drumline.core.gang.clock import unix

DAY = "2026-11-20T"
NOW = unix(f"{DAY}10:14:00Z")
POLICY = {
    "maxRestarts": 5,
    "budgets": [{"cause": "OutOfMemory", "maxRestarts": 3, "windowSeconds": 3600}],
}
RESTARTS = [
    {"cause": "ApplicationExit", "count": 2},
    {"cause": "NodeLost", "count": 4},
    {"cause": "OutOfMemory", "count": 2, "recent": [int(NOW) - 7200, int(NOW) - 30]},
]
ATTEMPTS: list[dict[str, Any]] = [
    {
        "attempt": 1,
        "startedAt": f"{DAY}08:02:00Z",
        "finishedAt": f"{DAY}10:13:00Z",
        "cause": "ApplicationExit",
        "action": "RestartGang",
        "pod": "llama-1-0-1",
        "rank": 1,
        "node": "gpu-7",
        "exitCode": 1,
        "message": "ApplicationExit: container train exited with 1; it said: early\nlate",
        "lostSteps": 20,
        "detection": {"ms": 1500, "source": "observed"},
    },
    {
        "attempt": 2,
        "startedAt": f"{DAY}10:13:10Z",
        "finishedAt": f"{DAY}10:13:50Z",
        "cause": "OutOfMemory",
        "action": "RestartGang",
        "rank": 3,
        "exitCode": 137,
        "message": "OutOfMemory: container train exited with 137",
        "slowNodes": ["gpu-9"],
        "lastLines": "line one\nRuntimeError: × no more",
        "recovery": [
            {"phase": "compile", "ms": 140_000},
            {"phase": "placement", "ms": 10_000},
            {"phase": "checkpoint_restore", "ms": 9000},
            {"phase": "draining", "ms": 1200},
            {"phase": "gang_wait", "ms": 600},
            {"phase": "binding", "ms": 250},
            {"phase": "image_pull", "ms": 100},
            {"phase": "pod_init", "ms": 50},
            {"phase": "total", "ms": 161_200},
        ],
    },
]
DETECTED = "acted upon after 1.5 s (observed)"
WAY = (
    "2m 43s: detect 1.5 s, teardown 1.2 s, placement 10.0 s, bind 250 ms, pull 150 ms, rendezvous 600 ms, "
    "restore 9.0 s, compile 2m 20s"
)
NOON = f"{DAY}12:00:00Z"
ORDER = {"number": 1, "at": f"{DAY}10:13:30Z", "message": "why it is so"}
CONDITION = {"observedGeneration": 1, "lastTransitionTime": f"{DAY}10:13:50Z"}


def condition(kind: str, value: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": value, "reason": reason, "message": message, **CONDITION}


def job(name: str = "llama", conditions: Any = None, **status: Any) -> dict[str, Any]:
    base = {
        "phase": "Restarting",
        "attempt": 2,
        "attempts": ATTEMPTS,
        "restarts": RESTARTS,
        "restartCount": 2,
        "nextAttemptAt": f"{DAY}10:14:20Z",
        "placement": {"revision": "r", "hash": "h", "pods": 4},
        "excludedNodes": [
            {"name": "gpu-7", "until": f"{DAY}11:13:00Z", "cause": "DeviceFault", "avoid": "Always"}
        ],
        "conditions": conditions or [condition("Restarting", "True", "GangRestarting", "it failed")],
    }
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": "research"},
        "spec": {"failurePolicy": POLICY},
        "status": {**base, **status},
    }


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(why, "now", lambda: NOW)


def written(path: Path, *jobs: dict[str, Any]) -> str:
    file = path / "jobs.yaml"
    file.write_text(yaml.safe_dump_all(jobs), encoding="utf-8")
    return str(file)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["why", *arguments]) == OK
    return capsys.readouterr().out


def test_one_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = shown(capsys, "-f", written(tmp_path, job()))
    lines = [" ".join(line.split()) for line in raw.splitlines()]
    assert lines[:3] == [
        "research/llama: Restarting, attempt 2",
        "GangRestarting: it failed",
        f"Next: attempt 3 at {DAY}10:14:20Z, in 20 s, on the nodes it holds",
    ]
    assert f"1 {DAY}08:02:00Z 2h 11m ApplicationExit RestartGang 1 1 20 gpu-7" in lines
    assert f"2 {DAY}10:13:10Z 40.0 s OutOfMemory RestartGang 3 137 - -" in lines
    assert f"Way back to attempt 2: {WAY}" in " ".join(lines)
    assert lines[lines.index(f"Attempt 1: ApplicationExit: container train exited with 1; {DETECTED}") + 1 :][
        :2
    ] == [
        "| early",
        "| late",
    ]
    assert "| RuntimeError: x no more" in lines
    assert "maxRestarts 2 5 3" in lines
    assert "OutOfMemory 1 3 in 3600 s 2" in lines
    assert "NodeLost 4 no limit -" in lines
    assert f"gpu-7 DeviceFault always {DAY}11:13:00Z" in lines
    assert "its workers on gpu-9 held up the others for long" in lines
    assert raw.isascii()
    assert len(lines) < 40
    assert max(map(len, raw.splitlines())) <= 120


def test_epochs_have_names_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = {**ATTEMPTS[1], "epoch": 1, "action": "RestartInPlace"}
    runs = {"attempt": 2, "epoch": 2, "startedAt": f"{DAY}10:13:50Z"}
    raw = shown(capsys, "-f", written(tmp_path, job(epoch=2, attempts=[ATTEMPTS[0], ended, runs])))
    lines = [" ".join(line.split()) for line in raw.splitlines()]
    assert lines[0] == "research/llama: Restarting, attempt 2.2"
    assert (
        lines[2]
        == f"Next: processes of 2.2 start in their pods at {DAY}10:14:20Z, in 20 s, once all launchers hold"
    )
    assert f"2.1 {DAY}10:13:10Z 40.0 s OutOfMemory RestartInPlace 3 137 - -" in lines
    assert f"Way back to attempt 2.1: {WAY}" in " ".join(lines)


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_for_programs(output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = yaml.safe_load(shown(capsys, "llama", "-f", written(tmp_path, job(), job("other")), "-o", output))
    assert (body["name"], body["phase"], body["reason"]) == ("llama", "Restarting", "GangRestarting")
    assert [a["lastLines"] for a in body["attempts"]] == [
        ["early", "late"],
        ["line one", "RuntimeError: × no more"],
    ]
    assert [a["ranSeconds"] for a in body["attempts"]] == [7860, 40]
    ways = [a["wayBackSeconds"] for a in body["attempts"]]
    assert ways[0] == {}
    assert (ways[1]["detect"], ways[1]["pull"], ways[1]["total"]) == (1.5, 0.15, 162.7)
    assert body["budgets"][1] == {
        "name": "OutOfMemory",
        "used": 1,
        "allowed": 3,
        "windowSeconds": 3600,
        "left": 2,
    }
    assert body["nextAttemptAt"] == f"{DAY}10:14:20Z"


LIVE = [*ATTEMPTS[:1], {"attempt": 2, "startedAt": f"{DAY}10:13:10Z"}]
READY = condition("PodsReady", "True", "AllPodsReady", "4 of 4 pods are ready")
NOT_READY = condition("PodsReady", "False", "PodsStarting", "0 of 4 pods are ready")


@pytest.mark.parametrize(
    ("conditions", "status", "reason", "next_"),
    [
        ([condition("Failed", "True", "OutOfMemoryRepeated")], {}, "OutOfMemoryRepeated", "create it again"),
        ([condition("Complete", "True", "Completed")], {}, "Completed", "succeeded"),
        ([condition("Suspended", "True", "SuspendedBySpec")], {}, "SuspendedBySpec", "spec.suspend"),
        ([READY], {"attempts": LIVE, "nextAttemptAt": None}, "AllPodsReady", "it runs"),
        (
            [READY],
            {"attempts": LIVE, "nextAttemptAt": None, "order": {**ORDER, "kind": "Stacks"}},
            "AllPodsReady",
            "asked for stacks at 2026-11-20T10:13:30Z",
        ),
        (
            [READY],
            {
                "attempts": LIVE,
                "nextAttemptAt": None,
                "order": {**ORDER, "kind": "Checkpoint", "node": "gpu-7"},
            },
            "AllPodsReady",
            "why it is so (since",
        ),
        (
            [READY],
            {"attempts": LIVE, "nextAttemptAt": None, "order": {**ORDER, "kind": "Stacks", "endedAt": NOON}},
            "AllPodsReady",
            "it runs",
        ),
        (
            [READY],
            {"attempts": LIVE, "nextAttemptAt": None, "order": {**ORDER, "kind": "Checkpoint"}},
            "AllPodsReady",
            "why it is so (since",
        ),
        (
            [READY],
            {"attempts": LIVE, "nextAttemptAt": None, "resize": {"slices": 4, "since": NOON}},
            "AllPodsReady",
            "restarts with 4 slices at its next durable checkpoint",
        ),
        ([NOT_READY], {"attempts": LIVE, "nextAttemptAt": None}, "PodsStarting", "to be ready"),
        (
            [NOT_READY],
            {"attempts": LIVE, "nextAttemptAt": None, "stalledSince": f"{DAY}10:13:30Z"},
            "PodsStarting",
            f"missing since {DAY}10:13:30Z",
        ),
        (
            [condition("QuotaReserved", "False", "InsufficientAccelerators"), NOT_READY],
            {"placement": None, "nextAttemptAt": f"{DAY}09:00:00Z"},
            "InsufficientAccelerators",
            "attempt 3 once all of its pods are admitted",
        ),
        ([NOT_READY], {"placement": None}, "PodsStarting", "in 20 s, once it has nodes"),
    ],
)
def test_what_comes_next(conditions: Any, status: dict[str, Any], reason: str, next_: str) -> None:
    view = why_of(job(conditions=conditions, **status), [], NOW)
    assert view.verdict is not None
    assert view.verdict.reason == reason
    assert next_ in view.next


def test_the_latest_events_in_order() -> None:
    events = [
        {"lastTimestamp": f"{DAY}10:0{i}:00Z", "type": "Warning", "reason": f"R{i}", "message": "m" * 300}
        for i in range(9)
    ]
    events[8]["count"] = 3
    view = why_of(job(), list(reversed(events)), NOW)
    assert [e.reason for e in view.events] == ["R4", "R5", "R6", "R7", "R8"]
    text = screen(view, Terminal(100, unicode=True, colour=False))
    assert " Warning R8 (×3): mmm" in text
    assert max(map(len, text.partition("EVENTS")[2].splitlines())) <= 100


def test_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, job(), job("other"))
    assert main(["why", "third", "-f", file]) == ABSENT
    assert main(["why", "-f", file]) == INVALID
    assert main(["why"]) == INVALID
    new = {**job(), "status": {}}
    assert main(["why", "-f", written(tmp_path, new)]) == ABSENT
    assert "has no status" in capsys.readouterr().err
    with pytest.raises(NoStatusError, match="can't be read at attempt"):
        why_of(job(attempt="x"), [], NOW)


def test_a_cluster_that_is_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config"
    config.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": []}))
    assert main(["why", "llama", "--kubeconfig", str(config)]) == UNREACHABLE
    assert capsys.readouterr().err.startswith("error: ")


def test_from_a_cluster(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def no_events(*_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(cluster, "get", lambda _access, _kind, namespace, name: job(f"{namespace}-{name}"))
    monkeypatch.setattr(why, "_events", no_events)
    assert shown(capsys, "llama", "-n", "team").startswith("research/team-llama: Restarting")


def test_the_sample_is_a_status() -> None:
    assert TrainingJobStatus.model_validate(job()["status"]).attempts[1].last_lines is not None


def test_a_preempted_job_says_for_whom_it_left_and_where_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Preempted by research/urgent: it is of queue b, whose cohort's quota queue a borrows; step 42 was safe"
    left = {**ATTEMPTS[0], "cause": "Preempted", "action": "Requeue", "message": text}
    changes = {"placement": None, "nextAttemptAt": None, "attempts": [left], "queuedAt": f"{DAY}08:00:00Z"}
    waits = condition("QuotaReserved", "False", "Preempted", text)
    raw = shown(capsys, "-f", written(tmp_path, job(conditions=[waits], attempt=1, **changes)))
    lines = " ".join(raw.split())
    assert f"Preempted: {text}" in lines
    assert f"Attempt 1: {text}" in lines
    assert (
        f"Next: attempt 2 once all of its pods are admitted; it stands in line as one that joined at {DAY}08:00:00Z"
        in lines
    )


def test_what_admission_says_of_a_job_that_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waits = condition("QuotaReserved", "False", "QueueQuotaExceeded", "queue a may have 40 at most")
    changes = {"placement": None, "nextAttemptAt": None, "attempts": [], "restarts": []}
    raw = shown(capsys, "-f", written(tmp_path, job(conditions=[waits], attempt=0, **changes)))
    assert (
        "Next: attempt 1 once all of its pods are admitted; admission says: queue a may have 40"
        in " ".join(raw.split())
    )


def test_whom_a_gang_waits_for_that_somebody_else_lets_in() -> None:
    placement = {"revision": "r", "hash": "h", "pods": 4, "backend": "kueue"}
    again = why_of(job(placement=placement), [], NOW)
    assert again.next.endswith("in 20 s, when kueue lets it in")
    running = {"attempt": 3, "startedAt": f"{DAY}10:13:55Z"}
    ready = [condition("PodsReady", "False", "QueueQuotaExceeded", "at Kueue's gate")]
    waits = job(ready, placement=placement, attempt=3, attempts=[running], nextAttemptAt=None)
    assert why_of(waits, [], NOW).next == "kueue lets all of its pods in, or none"
