"""`kubectl drumline queue`: what is read, in which order those who wait stand, and how it is told."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.cli import queue as command
from drumline.cli.main import parser
from drumline.cli.queue_text import detail, overview
from drumline.cli.queue_view import WANTED, QueuesView, queues_of, raw
from drumline.cli.settings import Settings
from drumline.cli.terminal import Terminal
from drumline.core.gang.standing import kept_nodes, waits_for

NOW = 1_800_000_000.0
H100 = "nvidia-h100-80gb"
WIDE = Terminal(width=400, unicode=True)
TEMPLATE = {"spec": {"containers": [{"name": "train", "image": "example.org/train:1"}]}}
ALL: dict[str, Any] = {"namespaceSelector": {}}


def queue(name: str, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    quotas = [{"accelerator": H100, "nominalQuota": 16}]
    return {
        "metadata": {"name": name, "uid": f"uid-{name}"},
        "spec": {"cohort": "all", "quotas": quotas, **ALL, **spec},
        "status": status or {},
    }


def job(name: str, created: str = "2027-01-15T07:50:00Z", **more: Any) -> dict[str, Any]:
    status = more.pop("status", {})
    labels = more.pop("labels", {})
    accelerator = {"type": H100, "chipsPerWorker": 8}
    metadata = {"name": name, "namespace": "team", "uid": name, "creationTimestamp": created}
    return {
        "metadata": {**metadata, "resourceVersion": "1", "labels": labels},
        "spec": {"accelerator": accelerator, "template": TEMPLATE, **more},
        "status": status,
    }


def holding(name: str, queue_name: str) -> dict[str, Any]:
    condition = {
        "type": "QuotaReserved",
        "status": "True",
        "reason": "Placed",
        "lastTransitionTime": "2027-01-15T07:00:00Z",
    }
    placement = {"revision": "r", "hash": "h", "pods": 1}
    status = {
        "queue": queue_name,
        "placement": placement,
        "admittedAt": "2027-01-15T07:00:00Z",
        "conditions": [condition],
    }
    return job(name, status=status)


def service(**group: Any) -> dict[str, Any]:
    role = {
        "name": "serve",
        "groupSize": 2,
        "accelerator": {"type": H100, "chipsPerWorker": 8},
        "template": TEMPLATE,
        "port": 8000,
    }
    entry = {"id": 3, "revision": "r", "queuedAt": "2027-01-15T07:58:00Z", **group}
    return {
        "metadata": {"name": "chat", "namespace": "team", "uid": "chat", "resourceVersion": "1"},
        "spec": {"engine": "custom", "queue": "blue", "roles": [role]},
        "status": {"roles": [{"name": "serve", "groups": [entry]}]},
    }


def cluster(*queues: dict[str, Any], jobs: Any = (), services: Any = ()) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {resource: [] for resource in WANTED}
    found["acceleratorqueues"] = list(queues)
    found["namespaces"] = [{"metadata": {"name": "team", "uid": "n"}}]
    found["priorityclasses"] = [{"metadata": {"name": "high"}, "value": 1000}]
    found["trainingjobs"], found["inferenceservices"] = list(jobs), list(services)
    return found


def read(*queues: dict[str, Any], settings: Settings | None = None, **more: Any) -> QueuesView:
    return queues_of(cluster(*queues, **more), settings or Settings(), NOW)


USED = {"accelerator": H100, "nominal": 16, "used": 24, "borrowed": 8, "lent": 0}
BLUE = queue("blue", {"usage": [USED], "share": "0.25"}, default=True)
RED = queue("red", {"share": "0"})


def names(view: QueuesView) -> list[str]:
    return [gang.name for gang in view.line]


def test_who_waits_stands_in_the_order_of_admission() -> None:
    jobs = (
        job("old", "2027-01-15T07:00:00Z", queue="blue"),
        job("young", "2027-01-15T07:55:00Z", queue="red"),
        job("urgent", "2027-01-15T07:59:00Z", queue="blue", priorityClassName="high"),
        job("free", "2027-01-15T07:58:00Z"),
    )
    view = read(BLUE, RED, jobs=jobs)
    assert names(view) == ["team/urgent", "team/young", "team/old", "team/free"], "by share, then by age"
    assert [(g.queue, g.chips, g.priority) for g in view.line[:2]] == [("blue", 8, 1000), ("red", 8, 0)]
    assert view.line[-1].queue == "blue", "the default queue"


OLD = job("old", "2027-01-15T07:00:00Z", queue="blue")  # an hour before NOW
URGENT = job("urgent", "2027-01-15T07:59:00Z", queue="blue", priorityClassName="high")


@pytest.mark.parametrize(
    ("aging", "order"), [(3600.0, ["team/old", "team/urgent"]), (0.0, ["team/urgent", "team/old"])]
)
def test_who_has_waited_beyond_all_patience_stands_before_every_priority(
    aging: float, order: list[str]
) -> None:
    view = read(BLUE, jobs=(URGENT, OLD), settings=Settings(aging=aging))
    assert names(view) == order
    assert [gang.name for gang in view.line if gang.aged] == (["team/old"] if aging else [])
    text = overview(view, WIDE)
    assert ("aged: has waited for 1h 00m, and no priority goes before it any more" in text) is bool(aging)
    assert ("aged" in raw(view)["line"][0]) is bool(aging)


def said(name: str, message: str) -> dict[str, Any]:
    """A job of no priority whose condition says that."""
    condition = {
        "type": "QuotaReserved",
        "status": "False",
        "reason": "InsufficientAccelerators",
        "message": message,
        "lastTransitionTime": "2027-01-15T07:00:00Z",
    }
    return job(name, "2027-01-15T07:59:30Z", queue="blue", status={"conditions": [condition]})


def test_others_leave_for_the_first_and_room_is_kept_for_a_head() -> None:
    served = said("served", waits_for("needs 8", 2))
    head = said("head", kept_nodes("needs 8", 3))
    view = read(BLUE, jobs=(URGENT, head, served))
    assert names(view) == ["team/served", "team/urgent", "team/head"]
    assert [g.get("standing") for g in raw(view)["line"]] == ["ServedFirst", None, "Kept"]
    text = overview(view, WIDE)
    assert "InsufficientAccelerators, others leave for it\n" in text
    assert "InsufficientAccelerators, what comes free is kept for it\n" in text


def test_that_the_operators_settings_are_not_known_is_said_where_they_matter() -> None:
    settings = Settings(doubt="the operator's settings can't be read: no")
    text = overview(read(BLUE, jobs=(URGENT, OLD), settings=settings), WIDE)
    assert "the order is by the defaults where the operator's may be another: the operator's" in text
    alone = read(BLUE, jobs=(OLD,), settings=settings)
    assert "by the defaults" not in overview(alone, WIDE) + detail(alone.queues[0], alone, WIDE)


def test_who_was_preempted_has_its_old_place_and_waits_since_then() -> None:
    ended = {"attempt": 1, "startedAt": "2027-01-15T07:10:00Z", "finishedAt": "2027-01-15T07:59:00Z"}
    status = {"attempt": 1, "attempts": [ended], "queuedAt": "2027-01-15T07:00:00Z"}
    back = job("back", queue="blue", status=status)
    view = read(BLUE, jobs=(job("new", "2027-01-15T07:30:00Z", queue="blue"), back))
    assert names(view) == ["team/back", "team/new"]
    assert NOW - view.line[0].since == 60


def test_who_holds_and_who_does_not_wait() -> None:
    over = job("over", status={"conditions": [{**FAILED, "type": "Failed"}]})
    view = read(BLUE, RED, jobs=(holding("runs", "red"), over, job("stopped", suspend=True)))
    blue, red = view.queues
    assert [(g.name, g.chips, NOW - g.since) for g in red.holds] == [("team/runs", 8, 3600)]
    assert (blue.holds, view.line, view.lost) == ((), (), ())


FAILED = {"status": "True", "reason": "X", "lastTransitionTime": "2027-01-15T07:00:00Z"}


def test_groups_of_services_stand_in_line_and_hold() -> None:
    waits = read(BLUE, services=[service(message="QueueQuotaExceeded: needs 16")])
    (gang,) = waits.line
    assert (gang.name, gang.chips, gang.queue) == ("team/chat (serve group 3)", 16, "blue")
    assert (gang.reason, gang.message) == ("QueueQuotaExceeded", "needs 16")
    holds = read(BLUE, services=[service(nodes=["a", "b"], phase="Serving", queue="blue")])
    assert [g.name for g in holds.queues[0].holds] == ["team/chat (serve group 3)"]
    assert holds.line == ()


def test_whose_queue_cannot_be_told_is_in_no_line() -> None:
    both = job("both", queue="red", labels={"drumline.dev/queue": "blue"})
    view = read(BLUE, RED, jobs=(both, job("lost", queue="green")))
    assert [g.name for g in view.lost] == ["team/both", "team/lost"]
    assert "there is no AcceleratorQueue green" in overview(view, WIDE)


def test_the_overview() -> None:
    view = read(BLUE, RED, jobs=(job("a", queue="red"), holding("b", "blue")))
    text = overview(view, WIDE)
    lines = text.splitlines()
    assert lines[0].split() == [
        *("QUEUE", "COHORT", "WEIGHT", "SHARE", "HOLD", "WAIT"),
        *("ACCELERATOR", "USED", "QUOTA", "BORROWED", "LENT"),
    ]
    assert lines[1].split() == [
        "blue*",
        "all",
        "1",
        "0.25",
        "1",
        "0",
        H100,
        "24",
        "16",
        "8",
        "0",
        "█" * 11 + "▓" * 5,
    ]
    assert lines[2].split() == ["red", "all", "1", "0", "0", "1", H100, "0", "16", "0", "0", "·" * 16]
    assert "1   team/a   red         8   nvidia-h100-80gb          0   10m 00s   -" in text
    assert overview(view, Terminal()).isascii()


def test_one_queue_at_length() -> None:
    preemption = {"withinQueue": "LowerPriority", "reclaimWithinCohort": "Any", "minRunSeconds": 60}
    quotas = [{"accelerator": H100, "nominalQuota": 16, "borrowingLimit": 8}]
    why = {
        "type": "QuotaReserved",
        "status": "False",
        "reason": "QueueQuotaExceeded",
        "message": "needs 8 × h100; queue blue may take 0 more",
        "lastTransitionTime": "2027-01-15T07:00:00Z",
    }
    blue = queue("blue", {"usage": [USED]}, preemption=preemption, quotas=quotas, maxRunSeconds=3600)
    view = read(blue, jobs=(job("a", queue="blue", status={"conditions": [why]}), holding("b", "blue")))
    text = detail(view.queues[0], view, WIDE)
    assert "blue: cohort all, weight 1, BestEffortFIFO" in text
    assert (
        "may preempt gangs of a lower priority in the queue and gangs of other queues that have borrowed"
        in text
    )
    assert "none before it has run 1m 00s" in text
    assert "a job may be admitted for 1h 00m" in text
    assert [line.split()[:7] for line in text.splitlines() if line.startswith(H100)] == [
        [H100, "24", "16", "8", "8", "0", "all"]
    ]
    assert "team/b       8   nvidia-h100-80gb          0   1h 00m" in text
    assert text.splitlines()[-1] == "team/a: needs 8 × h100; queue blue may take 0 more"


def test_a_queue_that_cannot_be_used() -> None:
    condition = {**FAILED, "type": "Active", "status": "False", "reason": "Odd", "message": "two of them"}
    view = read(queue("blue", {"conditions": [condition]}), queue("odd", weight=2))
    text = overview(view, WIDE)
    assert "blue: Odd: two of them" in text
    assert "odd can't be used: spec.weight" in text


def test_without_any_queue() -> None:
    text = overview(read(jobs=[job("a")]), WIDE)
    assert text.startswith("there is no AcceleratorQueue")
    assert "team/a" in text


def test_as_data() -> None:
    view = read(BLUE, RED, jobs=(job("a", queue="red"), holding("b", "blue"), job("c", queue="no")))
    found = raw(view)
    assert [q["name"] for q in found["queues"]] == ["blue", "red"]
    assert found["queues"][0]["accelerators"] == [USED]
    assert found["queues"][0]["holds"][0]["admittedAt"] == "2027-01-15T07:00:00Z"
    assert [g["name"] for g in found["line"]] == ["team/a"]
    assert found["withoutQueue"][0]["reason"] == "QueueNotFound"
    assert [*raw(view, "red")] == ["queues", "settings"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["queue", "green"], 3, "there are: blue"),
        (["queue", "blue"], 0, "blue: cohort all"),
        (["queue", "--aging", "60", "-o", "json"], 0, '"agingSeconds": 60.0'),
    ],
)
def test_the_command(
    arguments: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(command.cluster, "list_each", lambda *_: cluster(BLUE))
    args = parser().parse_args(arguments)
    assert args.action(args) == code
    assert said in "".join(capsys.readouterr())
