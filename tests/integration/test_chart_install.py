"""The chart on a real control plane: it is accepted, installs, upgrades, and leaves what runs when it goes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from drumline.runtime.config import load
from e2e.cluster.provider import Cluster
from tests.integration.chart import CHART, Helm

pytestmark = pytest.mark.cluster

Manifest = dict[str, Any]
CRD = "trainingjobs.drumline.dev"
EVERYTHING = {
    "replicas": 2,
    "networkPolicy": {"enabled": True, "egress": [{"ports": [{"port": 443}]}]},
    "catalog": {"my-chip": {"kind": "gpu", "chipsPerHost": 8, "hbmBytes": 80_000_000_000}},
}
JOB = {
    "apiVersion": "drumline.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "kept"},
    "spec": {
        "accelerator": {"type": "cpu"},
        "managedBy": "example.com/nobody",  # another test's operator may run on this cluster
        "template": {"spec": {"containers": [{"name": "train", "image": "trainer:1"}]}},
    },
}


@pytest.fixture
def helm(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Helm]:
    """helm in a namespace that enforces the restricted level; a release is gone at the end."""
    label = "pod-security.kubernetes.io/enforce=restricted"
    cluster.kubectl("label", "--overwrite", "namespace", namespace, label)
    helm = Helm(cluster, namespace, tmp_path)
    yield helm
    helm.uninstall()


@pytest.fixture
def installed(helm: Helm) -> str:
    """The namespace of a release."""
    helm.install({})
    return helm.namespace


def eventually(look: Callable[[], list[Manifest]], what: str, seconds: float = 120) -> list[Manifest]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}")


def test_the_api_server_accepts_every_object(cluster: Cluster, helm: Helm, namespace: str) -> None:
    rendered = helm("template", namespace, str(CHART), values=EVERYTHING)
    answer = cluster.kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",  # another test may have made the PriorityClass already
        "--dry-run=server",
        "--validate=strict",
        "-o",
        "name",
        "-f",
        "-",
        stdin=rendered,
    )
    kinds = {line.partition("/")[0] for line in answer.split()}
    assert {"deployment.apps", "flowschema.flowcontrol.apiserver.k8s.io", "configmap"} <= kinds
    assert {"networkpolicy.networking.k8s.io", "poddisruptionbudget.policy"} <= kinds
    assert {"clusterrole.rbac.authorization.k8s.io", "role.rbac.authorization.k8s.io"} <= kinds


def test_topology_levels_reach_the_operator(helm: Helm, tmp_path: Path, namespace: str) -> None:
    levels = [{"name": "rack", "label": "example.com/rack", "scaleUp": True}]
    topology = [{"name": "hall", "levels": levels}, {"preset": "flat"}]
    rendered = helm("template", namespace, str(CHART), values={"settings": {"topology": topology}})
    objects = [found for found in yaml.safe_load_all(rendered) if found]
    (config,) = [o["data"]["config.yaml"] for o in objects if "config.yaml" in (o.get("data") or {})]
    file = tmp_path / "config.yaml"
    file.write_text(config)
    found = load(["--config", str(file)], {}).hierarchies.hierarchies
    assert [hierarchy.name for hierarchy in found] == ["hall", "flat"]
    assert found[0].scale_up is not None


def test_installing_brings_the_crd_and_a_pod_under_the_restricted_level(
    cluster: Cluster, installed: str
) -> None:
    assert cluster.get("crd", CRD)["spec"]["group"] == "drumline.dev"

    def pods() -> list[Manifest]:
        found: list[Manifest] = cluster.get("pods", "-n", installed)["items"]
        return found

    pod = eventually(pods, "a pod of the operator")[0]
    assert pod["spec"]["serviceAccountName"] == "op"
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"
    status = cluster.get("deployment", "op", "-n", installed)["status"]
    assert not [c for c in status.get("conditions", []) if c["type"] == "ReplicaFailure"]


def test_an_upgrade_changes_settings(cluster: Cluster, helm: Helm, installed: str) -> None:
    before = cluster.get("deployment", "op", "-n", installed)["spec"]["template"]["metadata"]["annotations"]
    helm("upgrade", installed, str(CHART), "--reuse-values", values={"settings": {"headWait": 7}})
    assert "headWait: 7" in cluster.get("configmap", "op", "-n", installed)["data"]["config.yaml"]
    after = cluster.get("deployment", "op", "-n", installed)["spec"]["template"]["metadata"]["annotations"]
    assert before != after


def test_uninstalling_leaves_crd_jobs_and_their_pods(cluster: Cluster, helm: Helm, installed: str) -> None:
    cluster.kubectl("apply", "-n", installed, "-f", "-", stdin=json.dumps(JOB))
    uid = cluster.get("trainingjob", "kept", "-n", installed)["metadata"]["uid"]
    cluster.kubectl("create", "-n", installed, "-f", "-", stdin=json.dumps(worker(uid)))
    helm("uninstall", installed, "--wait")
    assert cluster.get("crd", CRD)["metadata"]["name"] == CRD
    assert cluster.get("trainingjob", "kept", "-n", installed)["metadata"]["uid"] == uid
    pod = cluster.get("pod", "kept-1-0-0", "-n", installed)
    assert "deletionTimestamp" not in pod["metadata"]
    left = cluster.get("deployments,serviceaccounts,roles,services,secrets", "-n", installed)["items"]
    assert not {"op", "op-ingest"} & {item["metadata"]["name"] for item in left}


def worker(uid: str) -> Manifest:
    """A pod of the job, that no node will take."""
    owner = {
        "apiVersion": JOB["apiVersion"],
        "kind": "TrainingJob",
        "name": "kept",
        "uid": uid,
        "controller": True,
    }
    security = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "train", "image": "trainer:1", "securityContext": security}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kept-1-0-0", "ownerReferences": [owner]},
        "spec": {"containers": [container], "nodeSelector": {"drumline.dev/test": "nowhere"}},
    }
