"""Fake pods obey their annotations, on the real control plane."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from e2e.cluster import nodes
from e2e.cluster.provider import Cluster, KubectlError

PREFIX = "fake.drumline.dev/"
Status = dict[str, Any]


@pytest.fixture(scope="module")
def node(cluster: Cluster) -> Iterator[str]:
    """A fake node of this module's own."""
    if cluster.embedded is None:
        pytest.skip("only the embedded cluster runs kwok, which plays the kubelets of fake nodes")
    names = asyncio.run(nodes.apply(cluster, "1 host of cpu", prefix=f"t{uuid.uuid4().hex[:8]}-"))
    yield names[0]
    asyncio.run(nodes.delete_nodes(cluster, names))


class Pods:
    """Pods of one namespace on one fake node."""

    def __init__(self, cluster: Cluster, namespace: str, node: str) -> None:
        self.cluster, self.namespace, self.node = cluster, namespace, node

    def create(self, name: str = "pod", labels: dict[str, str] | None = None, **told: str) -> None:
        """Create a pod; `told` are annotations without their prefix, `_` for `-`."""
        annotations = {PREFIX + key.replace("_", "-"): value for key, value in told.items()}
        containers = [{"name": "train", "image": "train:1"}, {"name": "log", "image": "log:1"}]
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": self.namespace,
                    "annotations": annotations,
                    "labels": labels or {},
                },
                "spec": {
                    "restartPolicy": "Never",
                    "nodeName": self.node,
                    "initContainers": [{"name": "fetch", "image": "fetch:1"}],
                    "containers": containers,
                },
            }
        )

    def wait(self, condition: str, name: str = "pod") -> Status:
        """Wait for a condition or a jsonpath, and return the pod's status."""
        kind = "" if "=" not in condition else "jsonpath="
        self.kubectl("wait", f"--for={kind}{condition}", f"pod/{name}", "--timeout=120s")
        return self.status(name)

    def status(self, name: str = "pod") -> Status:
        status: Status = self.cluster.get(f"pod/{name}", "-n", self.namespace)["status"]
        return status

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl(*arguments, "-n", self.namespace, seconds=150)


@pytest.fixture
def pods(cluster: Cluster, namespace: str, node: str) -> Pods:
    return Pods(cluster, namespace, node)


def phase(name: str) -> str:
    return f"{{.status.phase}}={name}"


def conditions(status: Status) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status["conditions"]}


def ended(status: Status, container: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = status["containerStatuses"][container]["state"]["terminated"]
    return found


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def seconds_run(status: Status) -> float:
    end = ended(status)
    return (moment(end["finishedAt"]) - moment(end["startedAt"])).total_seconds()


def test_a_pod_runs_like_under_a_kubelet(pods: Pods) -> None:
    pods.create()
    status = pods.wait(phase("Running"))
    assert conditions(status) == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"), "True"
    )
    assert [(c["name"], c["ready"], c["started"]) for c in status["containerStatuses"]] == [
        ("train", True, True),
        ("log", True, True),
    ]
    assert all(c["state"]["running"]["startedAt"] for c in status["containerStatuses"])
    assert [c["state"]["terminated"]["exitCode"] for c in status["initContainerStatuses"]] == [0]
    assert status["podIP"].startswith("10.")
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["startTime"]


def test_pods_of_a_node_have_addresses_of_their_own(pods: Pods) -> None:
    for name in ("a", "b", "c"):
        pods.create(name)
    assert len({pods.wait(phase("Running"), name)["podIP"] for name in ("a", "b", "c")}) == 3


def test_the_scheduler_s_condition_stays(cluster: Cluster, pods: Pods, node: str) -> None:
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "containers": [{"name": "c", "image": "i"}],
    }
    head = {"name": "pod", "namespace": pods.namespace}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": spec})
    assert conditions(pods.wait(phase("Running")))["PodScheduled"] == "True"


def test_run_seconds(pods: Pods) -> None:
    pods.create(run_seconds="2")
    pods.wait(phase("Running"))
    status = pods.wait(phase("Succeeded"))
    assert ended(status)["exitCode"] == 0
    assert ended(status)["reason"] == "Completed"
    assert seconds_run(status) >= 2
    assert conditions(status)["Ready"] == "False"
    assert conditions(status)["Initialized"] == "True"


def test_a_change_of_the_pod_does_not_start_the_clock_anew(pods: Pods) -> None:
    pods.create(run_seconds="3")
    pods.wait(phase("Running"))
    deadline = time.monotonic() + 120
    while pods.status()["phase"] == "Running":
        assert time.monotonic() < deadline
        pods.kubectl("label", "pod/pod", f"at=t{time.monotonic_ns()}", "--overwrite")
    assert seconds_run(pods.status()) >= 3


def test_exit_code_after_run_seconds(pods: Pods) -> None:
    pods.create(run_seconds="1", exit_code="3")
    status = pods.wait(phase("Failed"))
    assert ended(status)["exitCode"] == 3
    assert ended(status)["reason"] == "Error"
    assert ended(status, 1)["exitCode"] == 0
    assert seconds_run(status) >= 1
    ready = [c for c in status["conditions"] if c["type"] == "Ready"]
    assert [(c["status"], c["reason"]) for c in ready] == [("False", "PodFailed")]


def test_exit_code_alone_ends_at_once(pods: Pods) -> None:
    pods.create(exit_code="143")
    assert ended(pods.wait(phase("Failed")))["exitCode"] == 143


def test_oom(pods: Pods) -> None:
    pods.create(oom="true", run_seconds="1")
    status = pods.wait(phase("Failed"))
    assert (ended(status)["exitCode"], ended(status)["reason"]) == (137, "OOMKilled")
    assert seconds_run(status) >= 1


def test_never_ready(pods: Pods) -> None:
    pods.create(never_ready="true")
    status = pods.wait(phase("Running"))
    assert conditions(status)["Ready"] == "False"
    assert conditions(status)["ContainersReady"] == "False"
    assert not any(c["ready"] for c in status["containerStatuses"])
    with pytest.raises(KubectlError):
        pods.kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=2s")


def test_image_pull_fail(pods: Pods) -> None:
    pods.create(image_pull_fail="true")
    status = pods.wait("{.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff")
    assert status["phase"] == "Pending"
    assert "train:1" in status["containerStatuses"][0]["state"]["waiting"]["message"]
    assert conditions(status)["Ready"] == "False"


def test_start_seconds(pods: Pods) -> None:
    pods.create(start_seconds="3")
    pods.wait(phase("Running"))
    pod = pods.cluster.get("pod/pod", "-n", pods.namespace)
    running = pod["status"]["containerStatuses"][0]["state"]["running"]
    waited = moment(running["startedAt"]) - moment(pod["metadata"]["creationTimestamp"])
    # Both moments are cut to whole seconds.
    assert waited.total_seconds() >= 2


def test_a_deleted_pod_is_gone_at_once(pods: Pods) -> None:
    pods.create()
    pods.wait(phase("Running"))
    # Far less than the grace.
    pods.kubectl("delete", "pod/pod", "--grace-period=3600", "--timeout=120s")


def test_hang_terminating(pods: Pods) -> None:
    pods.create(hang_terminating="true")
    pods.wait(phase("Running"))
    pods.kubectl("delete", "pod/pod", "--wait=false")
    with pytest.raises(KubectlError, match="timed out"):
        pods.kubectl("wait", "--for=delete", "pod/pod", "--timeout=3s")
    assert pods.status()["phase"] == "Running"
    pods.kubectl("delete", "pod/pod", "--force", "--grace-period=0", "--timeout=120s")


@pytest.mark.parametrize(
    ("only", "label", "value", "hit"),
    [
        ("only_ranks", "rank", "3", True),
        ("only_ranks", "rank", "17", True),
        ("only_ranks", "rank", "1", False),
        ("only_attempts", "attempt", "3", True),
        ("only_attempts", "attempt", "7", False),
    ],
)
def test_only_some_ranks_or_attempts(pods: Pods, only: str, label: str, value: str, hit: bool) -> None:
    pods.create(labels={f"drumline.dev/{label}": value}, exit_code="5", **{only: "3, 17"})
    # A pod that the annotations do not count for passes Running too; what it does next tells.
    if hit:
        assert ended(pods.wait(phase("Failed")))["exitCode"] == 5
    else:
        pods.wait(phase("Running"))
        with pytest.raises(KubectlError):
            pods.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/pod", "--timeout=2s")


def test_only_ranks_and_attempts_must_both_hold(pods: Pods) -> None:
    told = {"exit_code": "5", "only_ranks": "0", "only_attempts": "1"}
    for attempt in ("1", "2"):
        labels = {"drumline.dev/rank": "0", "drumline.dev/attempt": attempt}
        pods.create(f"attempt-{attempt}", labels, **told)
    pods.wait(phase("Failed"), "attempt-1")
    assert pods.wait(phase("Running"), "attempt-2")["phase"] == "Running"


def test_a_job_s_pods_are_not_completed_by_themselves(cluster: Cluster, pods: Pods, node: str) -> None:
    template = {
        "spec": {
            "restartPolicy": "Never",
            "nodeName": node,
            "containers": [{"name": "c", "image": "i"}],
        }
    }
    head = {"name": "job", "namespace": pods.namespace}
    cluster.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": head, "spec": {"template": template}})
    pods.kubectl("wait", "--for=jsonpath={.status.ready}=1", "job/job", "--timeout=120s")
    with pytest.raises(KubectlError):
        pods.kubectl("wait", "--for=condition=Complete", "job/job", "--timeout=2s")
