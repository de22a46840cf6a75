"""Workers that report, as an API server sees them: restricted where their template is, and of the same class."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drumline.api.catalog import Catalog
from drumline.api.training import TrainingJobSpec
from drumline.core.training.observation import JobMeta
from drumline.core.training.progress_render import Reporting
from drumline.core.training.render import RenderSettings, prepare_gang
from e2e.cluster.operator import PRIORITY_CLASS
from e2e.cluster.provider import Cluster, KubectlError

STRICT = ("--dry-run=server", "--validate=strict")
REPORTING = Reporting("https://drumline-ingest.ops.svc:8443/v1/report", "drumline/operator:1")
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
WHOLE = {"cpu": "1", "memory": "1Gi"}


@pytest.fixture
def restricted(cluster: Cluster, namespace: str) -> str:
    """A namespace that takes restricted pods only."""
    cluster.apply(PRIORITY_CLASS)
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    return namespace


def worker(namespace: str, container: dict[str, Any], pod: dict[str, Any] | None = None) -> str:
    """A worker as JSON, its job's owner reference aside: there is no job."""
    whole = {"name": "train", "image": "img", "command": ["bash", "-c", "python train.py"], **container}
    spec = TrainingJobSpec.model_validate(
        {
            "accelerator": {"type": "cpu"},
            "checkpoint": {"path": "/ckpt"},
            "progress": {"pattern": r"^(?P<step>\d+)$"},
            "template": {"spec": {"containers": [whole], **(pod or {})}},
        }
    )
    job = JobMeta(namespace, "llama", "uid", 1, "1", 0.0)
    settings = RenderSettings(reporting=REPORTING)
    manifest = prepare_gang(job, spec, Catalog.default(), 1, settings).worker(0, None)
    metadata = {k: v for k, v in manifest["metadata"].items() if k != "ownerReferences"}
    return json.dumps({**manifest, "metadata": metadata})


def created(cluster: Cluster, manifest: str) -> dict[str, Any]:
    text = cluster.kubectl("create", *STRICT, "-f", "-", "-o", "json", stdin=manifest)
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("user", [None, 1000])
def test_a_restricted_template_stays_restricted(cluster: Cluster, restricted: str, user: int | None) -> None:
    pod = {"securityContext": {"runAsUser": user}} if user else {}
    made = created(cluster, worker(restricted, {"securityContext": RESTRICTED}, pod))
    assert [c["name"] for c in made["spec"]["initContainers"]] == ["drumline-launcher"]
    assert made["spec"]["containers"][0]["command"][0] == "bash"


def test_what_is_refused_is_the_templates_own(cluster: Cluster, restricted: str) -> None:
    with pytest.raises(KubectlError, match=r'violates PodSecurity "restricted.*container "train"') as refused:
        created(cluster, worker(restricted, {}))
    assert "drumline-launcher" not in str(refused.value)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"limits": WHOLE}, "Guaranteed"),
        ({"requests": WHOLE}, "Burstable"),
    ],
)
def test_the_class_of_service_stays(
    cluster: Cluster, restricted: str, resources: dict[str, Any], expected: str
) -> None:
    fields = {"securityContext": RESTRICTED, "resources": resources}
    assert created(cluster, worker(restricted, fields))["status"]["qosClass"] == expected


def test_a_pod_that_runs_as_root_gets_a_launcher_that_does_not(cluster: Cluster, namespace: str) -> None:
    cluster.apply(PRIORITY_CLASS)
    made = created(cluster, worker(namespace, {}, {"securityContext": {"runAsUser": 0}}))
    [installer] = made["spec"]["initContainers"]
    assert installer["securityContext"]["runAsUser"] == 65532
