"""`drumline plan` from end to end, in this process.

The golden files hold what the two example jobs become, trimmed to a few ranks. After a change that is meant:
``DRUMLINE_UPDATE_GOLDEN=1 pytest tests/unit/cli`` writes them anew; read the diff.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from drumline.__main__ import main
from drumline.cli.main import main as kubectl_main
from e2e.cluster.nodes import describe

GOLDEN = Path(__file__).parents[2] / "golden"
TPU = GOLDEN / "jobs" / "tpu-v5p.yaml"
GPU = GOLDEN / "jobs" / "gpu-h100.yaml"
CLUSTERS = {TPU: ("two v5p 4x4x4 slices", "1 host of cpu"), GPU: ("8 hosts of h100 in blocks of 4",)}
TEMPLATE = {"spec": {"containers": [{"name": "train", "image": "img"}]}}
RANKS = {TPU: ("0", "17", "31"), GPU: ("0", "3")}


def nodes_file(path: Path, *descriptions: str) -> str:
    file = path / "nodes.yaml"
    file.write_text(yaml.safe_dump(describe(*descriptions)), encoding="utf-8")
    return str(file)


def job_file(path: Path, **spec: Any) -> str:
    body = {"accelerator": {"type": "cpu"}, "workersPerSlice": 2, "template": TEMPLATE, **spec}
    manifest = {"apiVersion": "drumline.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "tiny"}}
    file = path / "job.yaml"
    file.write_text(json.dumps({**manifest, "spec": body}), encoding="utf-8")
    return str(file)


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["plan", *arguments, "-o", "json"]) == 0
    items: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["items"]
    return items


def kinds(objects: list[dict[str, Any]]) -> list[str]:
    """Kinds in order, each run of equals once."""
    names = [o["kind"] for o in objects]
    return [k for i, k in enumerate(names) if i == 0 or names[i - 1] != k]


@pytest.mark.parametrize("job", [TPU, GPU], ids=lambda p: p.stem)
def test_golden(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = nodes_file(tmp_path, *CLUSTERS[job])
    assert main(["plan", "-f", str(job), "--nodes", nodes]) == 0
    documents = capsys.readouterr().out.split("---\n")
    text = "---\n".join(d for d in documents if _shown(d, RANKS[job]))
    golden = GOLDEN / "plan" / f"{job.stem}.yaml"
    if os.environ.get("DRUMLINE_UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_spares_are_shown_with_their_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_file(tmp_path, spares=2)
    nodes = nodes_file(tmp_path, "4 hosts of cpu")
    found = {
        o["metadata"]["name"]: "affinity" in o["spec"]
        for o in planned(capsys, "-f", job, "--nodes", nodes)
        if o["kind"] == "Pod"
    }
    assert found == dict.fromkeys(["tiny-1-0-0", "tiny-1-0-1", "tiny-1-spare-0", "tiny-1-spare-1"], True)
    unpinned = [o for o in planned(capsys, "-f", job) if o["kind"] == "Pod"]
    assert len(unpinned) == 4
    assert not any("affinity" in o["spec"] for o in unpinned)


def _shown(document: str, ranks: tuple[str, ...]) -> bool:
    manifest = yaml.safe_load(document) or {}
    rank = manifest.get("metadata", {}).get("labels", {}).get("drumline.dev/rank")
    return rank is None or rank in ranks


@pytest.mark.parametrize(("job", "pods"), [(TPU, 35), (GPU, 4)], ids=["tpu", "gpu"])
def test_everything_is_pinned_to_a_node_that_was_given(
    job: Path, pods: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = nodes_file(tmp_path, *CLUSTERS[job])
    objects = planned(capsys, "-f", str(job), "--nodes", nodes)
    known = {n["metadata"]["name"] for n in describe(*CLUSTERS[job])}
    found = [o for o in objects if o["kind"] == "Pod"]
    assert len(found) == pods
    assert {_pinned_to(pod) for pod in found} <= known
    assert kinds(objects) == ["ControllerRevision", "Service", "Pod"]


def _pinned_to(pod: dict[str, Any]) -> str:
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    [name] = {t["matchFields"][0]["values"][0] for t in terms["nodeSelectorTerms"]}
    return str(name)


def test_without_nodes_pods_are_unpinned_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "-f", job_file(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Pods are shown without a node: no --nodes given.")
    pods = [d for d in yaml.safe_load_all(text) if d and d["kind"] == "Pod"]
    assert [p["metadata"]["name"] for p in pods] == ["tiny-1-0-0", "tiny-1-0-1"]
    assert not any("affinity" in p["spec"] for p in pods)


def test_a_level_that_is_not_built_in_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_file(tmp_path, scheduling={"placement": {"policy": "Required", "level": "blok"}})
    assert main(["plan", "-f", job]) == 0
    assert "spec.scheduling.placement.level: given 'blok', which " in capsys.readouterr().err
    nodes = nodes_file(tmp_path, "2 hosts of cpu")
    assert main(["plan", "-f", job, "--nodes", nodes]) == 3
    assert "no topology level is called 'blok'; known: block, subblock" in capsys.readouterr().err


def test_attempt_and_namespace_are_as_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = planned(capsys, "-f", job_file(tmp_path), "--attempt", "7", "-n", "ml")
    assert {o["metadata"]["namespace"] for o in objects} == {"ml"}
    assert [o["metadata"]["name"] for o in objects if o["kind"] == "Pod"] == ["tiny-7-0-0", "tiny-7-0-1"]


def test_a_gang_larger_than_one_plan_is_shown_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = planned(capsys, "-f", job_file(tmp_path, workersPerSlice=2500))
    assert sum(o["kind"] == "Pod" for o in objects) == 2500


def test_long_tpu_lists_come_before_the_pods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tpu = {"type": "tpu-v5p", "topology": "8x16x16"}
    objects = planned(
        capsys, "-f", job_file(tmp_path, accelerator=tpu, workersPerSlice=None, framework="jax")
    )
    assert kinds(objects) == ["ControllerRevision", "Service", "ConfigMap", "Pod"]


def test_helpers_that_wait_come_last_with_what_they_wait_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = [{"name": "workers", "status": "Complete"}]
    helpers = [
        {"name": "eval", "dependsOn": waits, "template": TEMPLATE},
        {"name": "load", "template": TEMPLATE},
    ]
    assert main(["plan", "-f", job_file(tmp_path, helpers=helpers)]) == 0
    last = capsys.readouterr().out.split("---\n")[-1]
    assert last.startswith("# created once: workers Complete\n")
    assert yaml.safe_load(last)["metadata"]["name"] == "tiny-1-eval-0"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"suspend": True}, "until spec.suspend is false"),
        ({"managedBy": "other.dev/controller"}, "other.dev/controller manages the job"),
    ],
)
def test_a_job_that_is_left_alone_creates_nothing(
    spec: dict[str, Any], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = {"name": "eval", "dependsOn": [{"name": "workers"}], "template": TEMPLATE}
    assert main(["plan", "-f", job_file(tmp_path, helpers=[waits], **spec)]) == 0
    text = capsys.readouterr().out
    assert why in text
    assert not any(yaml.safe_load_all(text))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"accelerator": {"type": "h100"}}, "spec.accelerator.type"),
        ({"accelerator": {"type": "tpu-v5p", "topology": "3x3x3"}}, "spec.accelerator.topology"),
        ({"slices": 0}, "spec.slices"),
        ({"template": {"spec": {"containers": []}}}, "spec.template.spec.containers"),
        ({"colour": "red"}, "spec.colour"),
    ],
)
def test_invalid_input_names_the_field(
    spec: dict[str, Any], field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "-f", job_file(tmp_path, **spec)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert any(line.startswith(f"{field}:") for line in captured.err.splitlines())


def test_a_gang_that_does_not_fit_is_refused_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = nodes_file(tmp_path, "3 hosts of h100 in blocks of 4")
    assert main(["plan", "-f", str(GPU), "--nodes", nodes]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nvidia-h100-80gb" in captured.err


def test_unreadable_files_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "-f", str(tmp_path / "none.yaml")]) == 2
    assert main(["plan", "-f", job_file(tmp_path), "--nodes", job_file(tmp_path)]) == 2
    assert "no v1.Node" in capsys.readouterr().err


def test_the_plugin_prints_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "-f", job_file(tmp_path)]
    assert main(arguments) == kubectl_main(arguments) == 0
    text = capsys.readouterr().out
    assert text[: len(text) // 2] == text[len(text) // 2 :]


@pytest.mark.parametrize("arguments", [[], ["plan"], ["plan", "-f", "x", "--attempt", "0"], ["nonsense"]])
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_crds_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crds"]) == 0
    [crd] = yaml.safe_load_all(capsys.readouterr().out)
    assert crd["metadata"]["name"] == "trainingjobs.drumline.dev"


def test_a_gang_that_another_scheduler_lets_in_is_shown_as_it_is_handed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    helpers = [{"name": "eval", "dependsOn": [{"name": "workers"}], "template": TEMPLATE}]
    job = job_file(tmp_path, scheduling={"backend": "native"}, helpers=helpers)
    objects = planned(capsys, "-f", job, "--nodes", nodes_file(tmp_path, "1 host of cpu"))
    (group,) = [o for o in objects if o["kind"] == "PodGroup"]
    assert group["apiVersion"] == "scheduling.k8s.io/v1alpha2"
    pods = {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "Pod"}
    assert {n: p.get("schedulingGroup") for n, p in pods.items()} == {
        "tiny-1-0-0": {"podGroupName": "tiny-1"},
        "tiny-1-0-1": {"podGroupName": "tiny-1"},
        "tiny-1-eval-0": None,
    }
    assert not any("affinity" in p for p in pods.values())


def test_what_a_backend_cannot_do_is_refused_offline_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    placement = {"policy": "Required", "level": "block"}
    job = job_file(tmp_path, scheduling={"backend": "coscheduling", "placement": placement})
    assert main(["plan", "-f", job]) != 0
    assert "coscheduling does not keep a gang to a topology domain" in capsys.readouterr().err


def test_a_candidate_is_planned_by_its_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    h100 = {"type": "nvidia-h100-80gb"}
    job = job_file(tmp_path, accelerator={**h100, "candidates": [{**h100, "nodeSelector": {"spot": "yes"}}]})
    pods = [o for o in planned(capsys, "-f", job, "--candidate", "1") if o["kind"] == "Pod"]
    assert [p["spec"]["nodeSelector"]["spot"] for p in pods] == ["yes", "yes"]
    pods = [o for o in planned(capsys, "-f", job) if o["kind"] == "Pod"]
    assert not any("spot" in p["spec"]["nodeSelector"] for p in pods)
    assert main(["plan", "-f", job, "--candidate", "2"]) == 2
    assert "--candidate: given 2; allowed: 0 to 1" in capsys.readouterr().err
