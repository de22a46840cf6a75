"""The CRD: up to date, deterministic, structural, small, and every field described and bounded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from drumline.api import crd, docs
from drumline.api.crd_kinds import TRAINING_JOB
from drumline.api.generate import run
from drumline.api.openapi import at
from drumline.api.rules import FROZEN, FROZEN_OPTIONAL, FROZEN_WHILE_ACTIVE, rules
from drumline.api.yamltext import dump

ROOT = Path(__file__).parents[3]
MUTABLE = {"suspend", "activeDeadlineSeconds", "slices", "ttlSecondsAfterFinished"}
SCHEMA = crd.schema()


def places(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every part of a schema with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from places(inner, f"{path}.{name}".lstrip("."))
    for word, mark in (("items", "[]"), ("additionalProperties", "[*]")):
        if isinstance(schema.get(word), dict):
            yield from places(schema[word], path + mark)


PLACES = dict(places(SCHEMA))


@pytest.mark.parametrize(("module", "file"), [(crd, TRAINING_JOB.file), (docs, docs.FILE)])
def test_generated_files_are_up_to_date(module: Any, file: str) -> None:
    assert (ROOT / file).read_text(encoding="utf-8") == module.text()


def test_generation_is_deterministic() -> None:
    assert crd.text() == crd.text()
    assert yaml.safe_load(crd.text()) == crd.crd()


def test_it_fits_client_side_apply() -> None:
    assert len(crd.text().encode()) < 200_000


def test_names() -> None:
    names = crd.crd()["spec"]["names"]
    assert (names["shortNames"], names["categories"]) == (["tj"], ["drumline"])
    (version,) = crd.crd()["spec"]["versions"]
    assert version["subresources"]["status"] == {}
    assert version["subresources"]["scale"] == {
        "specReplicasPath": ".spec.slices",
        "statusReplicasPath": ".status.slices",
        "labelSelectorPath": ".status.selector",
    }
    assert [c["name"] for c in version["additionalPrinterColumns"] if not c["priority"]] == [
        "Phase",
        "Ready",
        "Desired",
        "Restarts",
        "Attempt",
        "Age",
    ]


def test_no_word_that_a_structural_schema_forbids() -> None:
    forbidden = {
        "$ref",
        "title",
        "examples",
        "anyOf",
        "oneOf",
        "allOf",
        "const",
        "prefixItems",
        "exclusiveMinimum",
    }
    for path, place in PLACES.items():
        assert not forbidden & place.keys(), path
        assert place.get("additionalProperties") is not False, path
        assert "type" in place or place.get("x-kubernetes-int-or-string"), path


def test_every_field_of_ours_is_described() -> None:
    ours = [path for path in PLACES if path.startswith(("spec.", "status.")) and "template." not in path]
    assert len(ours) > 60
    undescribed = [p for p in ours if not p.endswith("]") and not PLACES[p].get("description")]
    assert undescribed == []


def test_every_text_list_and_map_of_the_spec_is_bounded() -> None:
    for path, place in PLACES.items():
        if not path.startswith("spec") or path.endswith(".env[].value"):
            continue
        if place.get("type") == "string":
            assert "maxLength" in place or "enum" in place, path
        if place.get("type") == "array":
            assert "maxItems" in place, path
        if "additionalProperties" in place:
            assert "maxProperties" in place, path


def test_integers_of_the_spec_have_bounds() -> None:
    for path, place in PLACES.items():
        if path.startswith("spec") and "template" not in path and place.get("type") == "integer":
            assert "minimum" in place, path
            assert "maximum" in place, path


def test_only_templates_keep_unknown_fields() -> None:
    kept = [path for path, place in PLACES.items() if place.get("x-kubernetes-preserve-unknown-fields")]
    assert "spec.template" in kept
    assert "spec.helpers[].template" in kept
    assert all("template" in path for path in kept)


def test_keyed_lists() -> None:
    keyed = {
        p: v["x-kubernetes-list-map-keys"] for p, v in PLACES.items() if "x-kubernetes-list-map-keys" in v
    }
    assert keyed == {
        "spec.failurePolicy.budgets": ["cause"],
        "spec.failurePolicy.rules": ["name"],
        "spec.helpers": ["name"],
        "spec.helpers[].dependsOn": ["name"],
        "status.conditions": ["type"],
        "status.restarts": ["cause"],
        "status.excludedNodes": ["name"],
        "status.attempts": ["attempt", "epoch"],
        "status.goodput.ratios": ["name"],
        "status.goodput.states": ["state"],
    }
    for path, keys in keyed.items():
        item = PLACES[f"{path}[]"]
        filled = {name for name, field in item["properties"].items() if "default" in field}
        assert set(keys) <= {*item["required"], *filled}, path


def test_every_field_of_the_spec_has_a_rule_of_change() -> None:
    ruled = {*FROZEN, *FROZEN_OPTIONAL, *FROZEN_WHILE_ACTIVE, *MUTABLE, "template"}
    assert set(SCHEMA["properties"]["spec"]["properties"]) == ruled


def test_fields_compared_without_has_are_always_there() -> None:
    spec = SCHEMA["properties"]["spec"]
    for name in FROZEN:
        assert name in spec["required"] or "default" in spec["properties"][name], name


def test_rules_hang_at_existing_places_and_name_existing_fields() -> None:
    for path, found in rules().items():
        place = at(SCHEMA, path)
        assert place["x-kubernetes-validations"] == found
        for rule in found:
            assert rule["message"]
            if "fieldPath" in rule:
                assert at(place, rule["fieldPath"].lstrip("."))


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("out/file.yaml")
    assert run(file, "new", ["--check"]) == 1
    assert "out of date" in capsys.readouterr().err
    assert run(file, "new", ["--write"]) == 0
    assert run(file, "new", ["--check"]) == 0
    assert run(file, "newer", ["--check"]) == 1
    with pytest.raises(SystemExit):
        run(file, "new", [])


TEXTS = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], max_codepoint=0xFFFD)) | st.sampled_from(
    ["true", "Null", "on", "No", "1", "~", "- a", "a: b", "line\nline", "#", "$ref", "drumline.dev/job"]
)
SCALARS = st.none() | st.booleans() | st.integers() | TEXTS
VALUES = st.recursive(SCALARS, lambda v: st.lists(SCALARS | st.dictionaries(TEXTS, v)), max_leaves=10)


@given(st.dictionaries(TEXTS, VALUES | st.dictionaries(TEXTS, VALUES), min_size=1))
def test_yaml_is_read_back(value: dict[str, Any]) -> None:
    read = yaml.safe_load(dump(value))
    assert read == value
