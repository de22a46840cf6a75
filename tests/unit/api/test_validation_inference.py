"""What is wrong with an InferenceService: each error names the field, what was given and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from drumline.api import crd
from drumline.api.catalog import Catalog
from drumline.api.crd_kinds import INFERENCE_ROLE, INFERENCE_SERVICE
from drumline.api.errors import FieldError
from drumline.api.inference import Profile, StartPolicy
from drumline.api.validation_inference import parse_service, validate_service
from tests.unit.api.inference_specs import full, malformed, role
from tests.unit.api.test_crd import places

ROOT = Path(__file__).parents[3]
CATALOG = Catalog.default()


def errors(raw: Any, name: str = "chat") -> tuple[FieldError, ...]:
    spec, found = parse_service(raw)
    return found if spec is None else validate_service(name, spec, CATALOG)


def _tpu(topology: str) -> dict[str, Any]:
    return role(accelerator={"type": "tpu-v6e", "topology": topology})


def test_a_full_spec_is_valid() -> None:
    assert errors(full()) == ()


def test_little_is_required() -> None:
    spec, found = parse_service({"roles": [role()]})
    assert found == ()
    assert spec is not None
    assert validate_service("a", spec, CATALOG) == ()
    assert (spec.profile, spec.roles[0].start_policy, spec.roles[0].replicas) == (
        Profile.STANDARD,
        StartPolicy.PARALLEL,
        1,
    )


@pytest.mark.parametrize(
    ("raw", "field", "_refused"), malformed(), ids=lambda v: v if isinstance(v, str) else ""
)
def test_what_is_wrong_is_named(raw: Any, field: str, _refused: bool) -> None:
    found = errors(raw)
    assert field in [error.path for error in found], found
    message = next(error.message for error in found if error.path == field)
    assert any(word in message for word in ("allowed", "required")), message


def test_circles_are_refused() -> None:
    raw = {"roles": [role("a", startAfter=["b"]), role("b", startAfter=["a"])]}
    assert "circle" in errors(raw)[0].message


def test_names_leave_room_for_the_pods() -> None:
    assert errors({"roles": [role("serve")]}, name="a" * 40) == ()
    (error,) = errors({"roles": [role("serve")]}, name="a" * 41)
    assert error.path == "metadata.name"
    assert "at most 40 characters" in error.message


def test_a_name_must_be_a_services() -> None:
    assert errors({"roles": [role()]}, name="1a")[0].path == "metadata.name"


def test_form_that_is_no_object() -> None:
    assert errors([1])[0].message == "given list; allowed: an object"


def test_variants_leave_counts_open() -> None:
    variants = [{"accelerator": {"type": "nvidia-a100-80gb"}}]
    limits = {"resources": {"limits": {"nvidia.com/gpu": 4}}}
    template = {"spec": {"containers": [{"name": "e", "image": "i", **limits}]}}
    found = errors({"roles": [role(variants=variants, template=template)]})
    assert [e.path for e in found] == [
        "spec.roles[0].template.spec.containers[0].resources.limits[nvidia.com/gpu]"
    ]


@pytest.mark.parametrize("kind", [INFERENCE_SERVICE, INFERENCE_ROLE])
def test_the_crds_are_up_to_date_and_fit_client_side_apply(kind: Any) -> None:
    assert (ROOT / kind.file).read_text(encoding="utf-8") == crd.text(kind)
    assert len(crd.text(kind).encode()) < 200_000


def test_every_field_is_described_and_every_list_bounded() -> None:
    for path, schema in places(crd.schema(INFERENCE_SERVICE)["properties"]["spec"], "spec"):
        if ".template" in path or ".leaderTemplate" in path:
            continue
        if path.endswith("[]") or path == "spec":
            continue
        assert schema.get("description") or path.endswith("[*]"), path
        if schema.get("type") == "array":
            assert "maxItems" in schema, path
        if schema.get("type") == "string":
            assert "maxLength" in schema or "enum" in schema or "pattern" in schema, path


@pytest.mark.parametrize("file", sorted(ROOT.glob("examples/inference-*.yaml")), ids=lambda f: f.stem)
def test_the_examples_are_valid(file: Path) -> None:
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert errors(document["spec"], document["metadata"]["name"]) == ()


@pytest.mark.parametrize(
    ("engine", "changes", "path"),
    [
        ("llamacpp", {"roles": [role(groupSize=2)]}, "spec.roles[0].groupSize"),
        ("jetstream", {"roles": [_tpu("4x4")]}, "spec.roles[0].accelerator.topology"),
        (
            "llamacpp",
            {"model": {"name": "m", "adapters": [{"name": "a", "source": "/a"}]}},
            "spec.model.adapters",
        ),
        ("triton", {"speculative": {"method": "ngram"}}, "spec.speculative.method"),
        ("vllm", {"speculative": {"method": "ngram", "draftRole": "serve"}}, "spec.speculative.draftRole"),
        (
            "sglang",
            {"speculative": {"method": "ngram", "disableAboveRunning": 4}},
            "spec.speculative.disableAboveRunning",
        ),
        (
            "triton",
            {"roles": [role("a"), role("b")], "kvTransfer": {"connector": "X"}},
            "spec.kvTransfer",
        ),
    ],
)
def test_what_an_engine_cannot_do_is_refused(engine: str, changes: Any, path: str) -> None:
    raw = {"model": {"name": "m"}, "roles": [role()], **changes}
    (error,) = errors({"engine": engine, **raw})
    assert error.path == path
    assert f"engine {engine} can't do" in error.message
    assert errors({"engine": "custom", **raw}) == (), "one's own program may do anything"


def test_a_status_holds_a_thousand_groups() -> None:
    roles = [role(f"r{n}", autoscaling={"maxReplicas": 500}) for n in range(3)]
    (error,) = errors({"roles": roles})
    assert "given up to 1500 groups; allowed: at most 1000" in error.message


def test_a_status_holds_the_nodes_of_ten_thousand_pods() -> None:
    assert errors({"roles": [role(replicas=125, groupSize=80)]}) == ()
    (error,) = errors({"roles": [role(replicas=125, groupSize=81)]})
    assert "given up to 10125 pods; allowed: at most 10000" in error.message


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("chat.example.com", True),
        ("*.example.com", True),
        ("https://chat.example.com", False),
        ("Chat.example.com", False),
        ("*", False),
        ("a.*.com", False),
    ],
)
def test_host_names_are_what_a_route_takes(name: str, right: bool) -> None:
    found = errors({"roles": [role()], "routing": {"gateway": {"name": "g", "hostnames": ["a.b", name]}}})
    assert [e.path for e in found] == ([] if right else ["spec.routing.gateway.hostnames[1]"])
