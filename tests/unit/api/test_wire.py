"""Messages made of pydantic's complaints, and the check against hand-written schemas."""

from typing import Any

import pytest

from drumline.api.errors import FieldError
from drumline.api.podtemplate import POD_TEMPLATE_SCHEMA
from drumline.api.schemacheck import schema_errors
from drumline.api.training import Helper, TrainingJobSpec
from drumline.api.wire import given, nested_model, path_of, wire_names
from tests.unit.api.specs import container, template


def test_an_error_reads_path_then_message() -> None:
    assert (
        str(FieldError("spec.slices", "given 0; allowed: at least 1"))
        == "spec.slices: given 0; allowed: at least 1"
    )


@pytest.mark.parametrize(
    ("parts", "prefix", "path"),
    [
        (("helpers", 0, "name"), "spec", "spec.helpers[0].name"),
        ((), "spec", "spec"),
        (("price", "source"), "", "price.source"),
    ],
)
def test_paths(parts: tuple[str | int, ...], prefix: str, path: str) -> None:
    assert path_of(parts, prefix) == path


def test_long_values_are_cut() -> None:
    assert given("x") == "'x'"
    assert len(given("x" * 1000)) == 80
    assert given("x" * 1000).endswith("…")


def test_models_within_annotations() -> None:
    assert nested_model(tuple[Helper, ...]) is Helper
    assert nested_model(Helper | None) is Helper
    assert nested_model(dict[str, Any]) is None
    assert "workersPerSlice" in wire_names(TrainingJobSpec)


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        (3, "t", "given 3; allowed: an object"),
        ({}, "t.spec", "required, given nothing; allowed: an object"),
        ({"spec": None}, "t.spec", "required, given nothing; allowed: an object"),
        ({1: 2, "spec": {}}, "t", "given the key 1; allowed: text keys"),
        (template(hostNetwork="yes"), "t.spec.hostNetwork", "given 'yes'; allowed: true or false"),
        (template(priority=True), "t.spec.priority", "given True; allowed: a whole number"),
        (template(volumes={}), "t.spec.volumes", "given {}; allowed: a list"),
        (template(volumes=["v"]), "t.spec.volumes[0]", "given 'v'; allowed: an object"),
        (template(nodeSelector={"zone": 1}), "t.spec.nodeSelector[zone]", "given 1; allowed: text"),
        (
            template(nodeSelector={"z": "a" * 64}),
            "t.spec.nodeSelector[z]",
            "given 64 characters; allowed: 0 to 63",
        ),
        (
            template(containers=[container(resources={"limits": {"cpu": []}})]),
            "t.spec.containers[0].resources.limits[cpu]",
            "given []; allowed: a number or text",
        ),
        (
            template(containers=[container(env=[{"name": "A", "value": 1}])]),
            "t.spec.containers[0].env[0].value",
            "given 1; allowed: text",
        ),
        (
            template(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}),
            "t.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",
            "allowed: an object",
        ),
        (
            template(nodeSelector={f"k{i}": "v" for i in range(257)}),
            "t.spec.nodeSelector",
            "given 257 entries; allowed: at most 256",
        ),
    ],
)
def test_templates_that_depart_from_the_schema(value: Any, path: str, words: str) -> None:
    errors = {error.path: error.message for error in schema_errors("t", value, POD_TEMPLATE_SCHEMA)}
    assert path in errors, errors
    assert words in errors[path]


def test_unknown_fields_of_a_template_are_kept() -> None:
    value = template(runtimeWishes={"any": ["thing"]}, initContainers=None)
    assert list(schema_errors("t", value, POD_TEMPLATE_SCHEMA)) == []
