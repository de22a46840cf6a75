"""`drumline plan` of an InferenceService, from end to end, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from drumline.__main__ import main
from tests.unit.cli.test_plan import kinds, nodes_file, planned

EXAMPLES = Path(__file__).parents[3] / "examples"
TEMPLATE = {"spec": {"containers": [{"name": "engine", "image": "img"}]}}


def service_file(path: Path, *roles: dict[str, Any], **spec: Any) -> str:
    found = [{"accelerator": {"type": "cpu"}, "template": TEMPLATE, **role} for role in roles]
    manifest = {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "tiny"},
    }
    file = path / "service.yaml"
    file.write_text(json.dumps({**manifest, "spec": {"roles": found, **spec}}), encoding="utf-8")
    return str(file)


def names(objects: list[dict[str, Any]], kind: str) -> list[str]:
    return [o["metadata"]["name"] for o in objects if o["kind"] == kind]


def test_roles_services_budgets_and_pods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = service_file(tmp_path, {"name": "prefill"}, {"name": "decode", "replicas": 2, "groupSize": 2})
    objects = planned(capsys, "-f", file)
    assert names(objects, "InferenceRole") == ["tiny-prefill", "tiny-decode"]
    assert {"tiny", "tiny-prefill", "tiny-decode", "tiny-peers"} <= set(names(objects, "Service"))
    assert sorted(names(objects, "PodDisruptionBudget")) == ["tiny-decode", "tiny-prefill"]
    pods = names(objects, "Pod")
    assert sorted(pods) == [
        "tiny-decode-1-0-0",
        "tiny-decode-1-0-1",
        "tiny-decode-1-1-0",
        "tiny-decode-1-1-1",
        "tiny-prefill-1-0-0",
    ]
    assert len({(o["kind"], o["metadata"]["name"]) for o in objects}) == len(objects), "each once"
    assert kinds(objects)[0] == "ControllerRevision"


def test_what_waits_says_for_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roles = ({"name": "a"}, {"name": "b", "groupSize": 2, "startPolicy": "LeaderFirst", "startAfter": ["a"]})
    file = service_file(tmp_path, *roles)
    assert main(["plan", "-f", file]) == 0
    text = capsys.readouterr().out
    remarks = [line for line in text.splitlines() if line.startswith("# created once")]
    assert "# created once: role a has a group in service" in remarks
    assert any("leader runs" in remark for remark in remarks)
    assert len([d for d in yaml.safe_load_all(text) if d and d["kind"] == "Pod"]) == 3


def test_groups_are_placed_and_pinned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = nodes_file(tmp_path, "8 hosts of h100 in blocks of 4")
    role = {"name": "serve", "replicas": 3, "groupSize": 2, "accelerator": {"type": "nvidia-h100-80gb"}}
    objects = planned(capsys, "-f", service_file(tmp_path, role), "--nodes", nodes)
    pins = {
        o["metadata"]["name"]: o["spec"]["affinity"]["nodeAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
        for o in objects
        if o["kind"] == "Pod"
    }
    assert len(pins) == len(set(pins.values())) == 6, "each pod has a host of its own"


def test_nodes_that_do_not_do_are_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = nodes_file(tmp_path, "1 host of h100 in blocks of 1")
    role = {"name": "serve", "groupSize": 2, "accelerator": {"type": "nvidia-h100-80gb"}}
    assert main(["plan", "-f", service_file(tmp_path, role), "--nodes", nodes]) == 3
    assert "InsufficientAccelerators" in capsys.readouterr().err


def test_errors_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "-f", service_file(tmp_path, {"name": "canary"})]) == 2
    assert "spec.roles[0].name: given 'canary'" in capsys.readouterr().err


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("inference-*.yaml")), ids=lambda f: f.stem)
def test_the_examples(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Pod" in kinds(planned(capsys, "-f", str(file)))


def test_groups_of_another_backend_carry_its_marks_and_are_placed_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = nodes_file(tmp_path, "8 hosts of h100 in blocks of 4")
    role = {"name": "serve", "groupSize": 2, "accelerator": {"type": "nvidia-h100-80gb"}}
    file = service_file(tmp_path, role, scheduling={"backend": "native"})
    objects = planned(capsys, "-f", file, "--nodes", nodes)
    pods = [o["spec"] for o in objects if o["kind"] == "Pod"]
    assert [p["schedulingGroup"]["podGroupName"] for p in pods] == ["tiny-serve-1-0-g"] * 2
    assert not any("affinity" in p for p in pods)
    assert [o["metadata"]["name"] for o in objects if o["kind"] == "PodGroup"] == ["tiny-serve-1-0-g"]


def test_what_a_backend_can_not_do_is_refused_offline_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = service_file(tmp_path, {"name": "serve"}, scheduling={"backend": "kueue"})
    assert main(["plan", "-f", file]) == 3
    assert "no LocalQueue of Kueue is named" in capsys.readouterr().err
