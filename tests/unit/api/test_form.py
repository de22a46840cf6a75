"""The form of a spec: round trips, and one fault at every place of the schema."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.catalog import Catalog
from drumline.api.shape import resolve_shape
from drumline.api.validation import parse_spec, validate_job
from tests.unit.api.malformed import FAULTS, FULL, VALID, Fault
from tests.unit.api.specs import errors_of, judge, raw_spec

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_the_full_spec_is_valid() -> None:
    parsed, errors = parse_spec(FULL)
    assert errors == ()
    assert parsed is not None
    assert validate_job("llama", parsed, Catalog.default()) == ()


@given(VALID)
def test_parse_dump_parse(raw: dict[str, Any]) -> None:
    parsed, errors = parse_spec(raw)
    assert errors == ()
    assert parsed is not None
    assert parse_spec(parsed.to_json()) == (parsed, ())


@given(VALID)
def test_what_is_valid_has_a_shape(raw: dict[str, Any]) -> None:
    parsed, _ = parse_spec(raw)
    assert parsed is not None
    assert validate_job("a", parsed, Catalog.default()) == ()
    assert resolve_shape(parsed, Catalog.default()).workers >= 1


def test_there_are_many_faults() -> None:
    assert len(FAULTS) > 250
    assert len({fault.path for fault in FAULTS}) > 60


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.path} {fault.what}")
def test_every_fault_is_named(fault: Fault) -> None:
    errors = judge(fault.spec())
    named = [error for error in errors if error.path.startswith(fault.path)]
    assert named, errors
    assert "allowed:" in named[0].message


@given(st.dictionaries(st.sampled_from([*FULL, "bogus"]), JSON, max_size=4))
def test_any_json_is_parsed_or_refused(fields: dict[str, Any]) -> None:
    parsed, errors = parse_spec(raw_spec(**fields))
    assert (parsed is None) == bool(errors)
    assert all(error.path.startswith("spec") for error in errors)
    if parsed is not None:
        assert all(error.path for error in validate_job("a", parsed, Catalog.default()))


@given(JSON)
def test_any_template_is_judged(template: Any) -> None:
    errors = errors_of(
        template={"spec": {"containers": [template], "affinity": template}, "metadata": template}
    )
    assert errors


@pytest.mark.parametrize("raw", [None, 3, "x", [], True])
def test_a_spec_is_an_object(raw: Any) -> None:
    parsed, errors = parse_spec(raw)
    assert parsed is None
    assert [error.path for error in errors] == ["spec"]


def test_endless_nesting_is_refused() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    parsed, errors = parse_spec({"template": deep})
    assert parsed is None
    assert errors[0].path == "spec"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"slices": 0}, "spec.slices: given 0; allowed: at least 1"),
        ({"framework": "caffe"}, "spec.framework: given 'caffe'; allowed: 'torch', 'jax' or 'none'"),
        ({"suspend": "no"}, "spec.suspend: given 'no'; allowed: true or false"),
        ({"helpers": {}}, "spec.helpers: given {}; allowed: a list"),
        (
            {"accelerator": {}},
            "spec.accelerator.type: required, given nothing; allowed: Key of the accelerator catalogue; `cpu` for no accelerator",
        ),
        (
            {"scheduling": {"placment": {}}},
            "spec.scheduling.placment: unknown field; allowed: backend, backendQueue, gangTimeoutSeconds, placement, provisioning",
        ),
        ({"queue": "x" * 64}, f"spec.queue: given '{'x' * 64}'; allowed: at most 63 characters"),
    ],
)
def test_messages(fields: dict[str, Any], message: str) -> None:
    assert [str(error) for error in errors_of(**fields)] == [message]
