"""`kubectl drumline rollouts, rollback, promote` against a real API server, with nobody who reconciles."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drumline.api.meta import INFERENCE_SERVICES
from drumline.cli.cluster import OK
from drumline.cli.goodput import ABSENT, INVALID
from drumline.cli.main import main
from drumline.core.gang.names import Owner
from drumline.core.inference.render import revision_digest, revision_manifest, revision_name
from e2e.cluster.provider import Cluster
from tests.integration.admission import install
from tests.unit.core.inference.services import parsed, role, spec


@pytest.fixture(scope="module", autouse=True)
def _crd(cluster: Cluster) -> None:
    install(cluster, INFERENCE_SERVICES)


def of(image: str, **changes: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "engine", "image": image, "args": ["--one", "--two"]}]}}
    return spec(role(template=template, **changes), managedBy="example.com/nobody", rollout={"canary": {}})


def read(cluster: Cluster, namespace: str) -> dict[str, Any]:
    return dict(json.loads(cluster.kubectl("get", "infsvc", "chat", "-n", namespace, "-o", "json")))


@pytest.fixture
def service(cluster: Cluster, namespace: str) -> str:
    """A service whose revision 2 is on its way and that is at revision 1, and its history. Its namespace."""
    new = {**of("new", replicas=3), "model": {"name": "big", "cache": {"claimName": "weights"}}}
    manifest = {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": new,
    }
    made = json.loads(cluster.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(manifest)))
    owner = Owner("drumline.dev/v1alpha1", "InferenceService", namespace, "chat", made["metadata"]["uid"])
    old = of("old")
    old["model"] = {"name": "big"}
    names = [revision_name("chat", parsed(s)) for s in (old, new)]
    for number, (name, its) in enumerate(zip(names, (old, new), strict=True), start=1):
        body = json.dumps(revision_manifest(owner, name, number, parsed(its)))
        cluster.kubectl("create", "-f", "-", stdin=body)
    status = {
        "currentRevision": names[0],
        "updateRevision": names[1],
        "observedGeneration": 1,
        "rollout": {"phase": "Canary"},
    }
    patch = json.dumps({"status": status})
    cluster.kubectl(
        "patch", "infsvc", "chat", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch
    )
    return namespace


def run(cluster: Cluster, command: str, namespace: str, *more: str) -> int:
    return main([command, "chat", "-n", namespace, "--kubeconfig", str(cluster.kubeconfig), *more])


def test_the_history_is_listed(cluster: Cluster, service: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cluster, "rollouts", service) == OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "REVISION",
        "1",
        "2",
        "model.cache.claimName:",
        "model.cache.mountPath:",
        "model.cache.readOnly:",
        "roles[serve].template.spec.containers[engine].image:",
        "rollout:",
    ]


def test_a_service_goes_back(cluster: Cluster, service: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = read(cluster, service)
    assert run(cluster, "rollback", service, "--dry-run") == OK
    assert read(cluster, service)["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert run(cluster, "rollback", service) == OK
    assert "goes back to revision 1" in capsys.readouterr().out
    after = read(cluster, service)
    old = {**of("old"), "model": {"name": "big"}}
    assert revision_digest(parsed(after["spec"])) == revision_digest(parsed(old))
    assert after["spec"]["roles"][0]["replicas"] == 3
    assert "cache" not in after["spec"]["model"]
    name = revision_name("chat", parsed(old))
    assert after["metadata"]["annotations"] == {"drumline.dev/promote": name}
    assert run(cluster, "rollback", service, "--to-revision", "7") == ABSENT


def test_a_canary_is_promoted(cluster: Cluster, service: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cluster, "promote", service) == OK
    found = read(cluster, service)
    assert found["metadata"]["annotations"]["drumline.dev/promote"] == found["status"]["updateRevision"]
    assert found["metadata"]["generation"] == 1
    done = json.dumps({"status": {"currentRevision": found["status"]["updateRevision"]}})
    cluster.kubectl(
        "patch", "infsvc", "chat", "-n", service, "--subresource=status", "--type=merge", "-p", done
    )
    assert run(cluster, "promote", service) == INVALID
    assert "on its way" in capsys.readouterr().err


def test_a_service_that_is_not_there(
    cluster: Cluster, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cluster, "promote", namespace) == ABSENT
    assert run(cluster, "rollback", namespace) == ABSENT
    assert run(cluster, "rollouts", namespace) == ABSENT
    assert f"InferenceService {namespace}/chat not found" in capsys.readouterr().err
