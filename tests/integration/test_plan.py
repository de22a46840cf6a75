"""What `drumline plan` prints is what an API server takes, word for word, with strict validation."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from drumline.__main__ import main
from drumline.api.meta import INFERENCE_ROLES
from e2e.cluster.nodes import describe
from e2e.cluster.operator import PRIORITY_CLASS
from e2e.cluster.provider import Cluster
from tests.integration.admission import install

JOBS = Path(__file__).parents[1] / "golden" / "jobs"
EXAMPLES = Path(__file__).parents[2] / "examples"
STRICT = ("--dry-run=server", "--validate=strict")
CLUSTERS = {
    "tpu-v5p": ("two v5p 4x4x4 slices", "1 host of cpu"),
    "gpu-h100": ("8 hosts of h100 in blocks of 4",),
}


@pytest.mark.parametrize("job", sorted(CLUSTERS))
def test_the_api_server_takes_every_object(
    job: str, cluster: Cluster, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = yaml.safe_load((JOBS / f"{job}.yaml").read_text(encoding="utf-8"))
    manifest["metadata"]["namespace"] = namespace
    cluster.apply(PRIORITY_CLASS)
    text = _planned(manifest, CLUSTERS[job], tmp_path, capsys)
    objects = [d for d in yaml.safe_load_all(text) if d]
    created = cluster.kubectl("create", *STRICT, "-f", "-", "-o", "name", stdin=text, seconds=120).split()
    assert len(created) == len(objects)
    assert created[-1] == f"pod/{objects[-1]['metadata']['name']}"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("inference-*.yaml")), ids=lambda f: f.stem)
def test_the_api_server_takes_every_object_of_a_service(
    file: Path, cluster: Cluster, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = yaml.safe_load(file.read_text(encoding="utf-8"))
    manifest["metadata"]["namespace"] = namespace
    cluster.apply(PRIORITY_CLASS)
    install(cluster, INFERENCE_ROLES)
    text = _planned(manifest, (), tmp_path, capsys)
    objects = [d for d in yaml.safe_load_all(text) if d]
    created = cluster.kubectl("create", *STRICT, "-f", "-", "-o", "name", stdin=text, seconds=120).split()
    assert len(created) == len(objects)


def test_long_tpu_lists_are_found_by_their_pods(
    cluster: Cluster, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = {"spec": {"containers": [{"name": "train", "image": "img"}]}}
    tpu = {"type": "tpu-v5p", "topology": "16x16x24"}
    manifest = {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "huge", "namespace": namespace},
        "spec": {"accelerator": tpu, "framework": "jax", "template": template},
    }
    cluster.apply(PRIORITY_CLASS)
    objects = [d for d in yaml.safe_load_all(_planned(manifest, (), tmp_path, capsys)) if d]
    [lists] = [o for o in objects if o["kind"] == "ConfigMap"]
    last = objects[-1]
    for item in (lists, last):
        cluster.kubectl("create", *STRICT, "-f", "-", stdin=yaml.safe_dump(item))
    [source] = [
        e["valueFrom"]["configMapKeyRef"]
        for e in last["spec"]["containers"][0]["env"]
        if e["name"] == "TPU_WORKER_HOSTNAMES"
    ]
    assert source["name"] == lists["metadata"]["name"]
    assert len(lists["data"][source["key"]].split(",")) == 1536


def _planned(
    manifest: dict[str, Any], cluster: tuple[str, ...], path: Path, capsys: pytest.CaptureFixture[str]
) -> str:
    job, nodes = path / "job.yaml", path / "nodes.yaml"
    job.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    nodes.write_text(yaml.safe_dump(describe(*cluster)), encoding="utf-8")
    assert main(["plan", "-f", str(job), *(("--nodes", str(nodes)) if cluster else ())]) == 0
    return capsys.readouterr().out
