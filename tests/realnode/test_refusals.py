"""What a real kubelet says of pods that it refuses, evicts, or takes for another one; and of nodes about to go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from drumline.api.reasons import Cause
from drumline.core.gang.failures import cause_of
from drumline.core.gang.hindrances import hindered, project_event
from drumline.core.gang.projection import project_node, project_pod
from drumline.core.gang.types import Pod
from e2e.cluster.realnode import NODE_NAME
from e2e.suites.kubectl import until
from e2e.suites.pods import python_pod
from tests.realnode.conftest import Real

_FOREVER = "import time; time.sleep(600)"
_DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); {_FOREVER}"
_PORT = {"ports": [{"containerPort": 7000, "hostPort": 17999}]}
_TAKEN_SOON = "cloud.google.com/impending-node-termination"
_MAINTAINED = "cloud.google.com/active-node-maintenance"


def _asks(**requests: str) -> dict[str, Any]:
    return {"resources": {"requests": requests, "limits": requests}}


def _seen(real: Real, name: str) -> tuple[Pod, Cause]:
    found = project_pod(real.kubectl.get("pod", name))
    return found, cause_of(found, project_node(real.kubectl.get("node", NODE_NAME)))


def _straight(name: str, **spec: Any) -> dict[str, Any]:
    """A pod that names its node, so that no scheduler has a say."""
    return python_pod(name, _FOREVER, nodeName=NODE_NAME, **spec)


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (_straight("greedy", container=_asks(cpu="4000")), "OutOfcpu"),
        (_straight("bloated", container=_asks(memory="9000Gi")), "OutOfmemory"),
        (_straight("elsewhere", nodeSelector={"drumline.dev/no-such": "label"}), "NodeAffinity"),
        (_straight("foreign", os={"name": "windows"}), "PodOSNotSupported"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_kubelet_refuses_a_pod(real: Real, manifest: dict[str, Any], reason: str) -> None:
    name = manifest["metadata"]["name"]
    real.kubectl.apply(manifest)
    real.kubectl.wait_pod(name, "Failed")
    found, why = _seen(real, name)
    assert (found.reason, why) == (reason, Cause.PLACEMENT_RACE)


def test_it_refuses_a_port_that_is_taken(real: Real) -> None:
    real.kubectl.apply(_straight("first", container=_PORT))
    real.kubectl.wait_pod("first", "Running")
    real.kubectl.apply(_straight("second", container=_PORT))
    real.kubectl.wait_pod("second", "Failed")
    found, why = _seen(real, "second")
    assert (found.reason, why) == ("NodePorts", Cause.PLACEMENT_RACE)
    real.kubectl.delete("pod", "first")


def test_it_evicts_a_pod_that_writes_more_than_its_volume_may_hold(real: Real) -> None:
    code = f"open('/scratch/x', 'wb').write(bytes(8 << 20)); {_FOREVER}"
    mount = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    volume = {"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}
    real.kubectl.apply(python_pod("writes", code, container=mount, volumes=[volume]))
    real.kubectl.wait_pod("writes", "Failed", seconds=120)
    found, why = _seen(real, "writes")
    assert (found.reason, found.disruption) == ("Evicted", "")
    assert 'Usage of EmptyDir volume "scratch" exceeds the limit' in found.message
    assert why is Cause.APPLICATION_EXIT  # its own doing, which another attempt would repeat


def test_it_takes_a_pod_for_a_critical_one(real: Real) -> None:
    cpus = project_node(real.kubectl.get("node", NODE_NAME)).allocatable["cpu"]
    half = f"{cpus * 6 // 10}m"
    real.kubectl.apply(_straight("cheap", container=_asks(cpu=half)))
    real.kubectl.wait_pod("cheap", "Running")
    critical = _straight("critical", container=_asks(cpu=half), priorityClassName="system-node-critical")
    real.kubectl.apply(critical)
    real.kubectl.wait_pod("cheap", "Failed", seconds=120)
    found, why = _seen(real, "cheap")
    assert (found.reason, found.disruption) == ("Preempting", "TerminationByKubelet")
    assert why is Cause.EVICTED
    real.kubectl.delete("pod", "critical")


@pytest.fixture
def leaving(real: Real) -> Iterator[None]:
    """The node bears a label and a taint as of a node about to go; that they do is its cloud's to say."""
    real.kubectl.run("label", "node", NODE_NAME, f"{_MAINTAINED}=true")
    yield
    real.kubectl.run("label", "node", NODE_NAME, f"{_MAINTAINED}-")


@pytest.mark.usefixtures("leaving")
@pytest.mark.parametrize(("code", "cause"), [(143, Cause.MAINTENANCE), (3, Cause.APPLICATION_EXIT)])
def test_a_program_ends_while_its_node_is_maintained(real: Real, code: int, cause: Cause) -> None:
    name = f"exits-{code}"
    real.kubectl.apply(python_pod(name, f"raise SystemExit({code})"))
    real.kubectl.wait_pod(name, "Failed")
    assert _seen(real, name)[1] is cause


def test_a_program_fails_or_is_told_to_end_while_its_node_is_about_to_go(real: Real) -> None:
    for name, code in (("falls", "import time; time.sleep(15); raise SystemExit(1)"), ("deaf", _DEAF)):
        real.kubectl.apply(python_pod(name, code, terminationGracePeriodSeconds=20))
        real.kubectl.wait_pod(name, "Running")
    real.kubectl.run("taint", "node", NODE_NAME, f"{_TAKEN_SOON}=:NoSchedule")
    try:
        real.kubectl.wait_pod("falls", "Failed")
        assert _seen(real, "falls")[1] is Cause.MAINTENANCE
        until(lambda: real.kubectl.logs("deaf") != "", "deaf to be deaf", 150)
        real.kubectl.run("delete", "pod", "deaf", "--wait=false")
        found, why = _seen(real, "deaf")
        assert (found.deleting, found.disruption, why) == (True, "", Cause.MAINTENANCE)
    finally:
        real.kubectl.run("taint", "node", NODE_NAME, f"{_TAKEN_SOON}-")


@pytest.mark.usefixtures("leaving")
def test_a_pod_is_evicted_while_its_node_is_maintained(real: Real) -> None:
    real.kubectl.apply(python_pod("drained", _DEAF, terminationGracePeriodSeconds=20))
    real.kubectl.wait_pod("drained", "Running")
    until(lambda: real.kubectl.logs("drained") != "", "it to be deaf", 150)
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "drained"}}
    path = "/api/v1/namespaces/default/pods/drained/eviction"
    real.kubectl.run("create", f"--raw={path}", "--filename=-", stdin=json.dumps(body))
    found, why = _seen(real, "drained")
    assert (found.disruption, why) == ("EvictionByEvictionAPI", Cause.MAINTENANCE)


def test_a_sandbox_that_cannot_be_made(real: Real) -> None:
    runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "no-such"}}
    real.kubectl.apply({**runtime, "handler": "no-such"})
    real.kubectl.apply(_straight("boxless", runtimeClassName="no-such"))

    def waits() -> Pod:
        events = [e for raw in real.kubectl.list("events") if (e := project_event(raw)) is not None]
        return hindered(_seen(real, "boxless")[0], [e for e in events if e.pod == "boxless"])

    until(lambda: waits().waiting != "", "the kubelet to say why", 150)
    assert (waits().waiting, cause_of(waits())) == ("FailedCreatePodSandBox", Cause.PLACEMENT_RACE)
    assert "no runtime for" in waits().waiting_message
    real.kubectl.delete("pod", "boxless")
