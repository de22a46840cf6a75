"""CEL rules: every field that may not change is compared, and few rules look at the wide objects."""

from __future__ import annotations

import re

from drumline.api.podtemplate import MUTABLE_SPEC, OPERATOR_FIELDS, POD_SPEC_FIELDS
from drumline.api.rules import FIXED_OF_POD, FROZEN, FROZEN_OPTIONAL, rules, stays

LOOKS_AT_SPEC = 64  # each costs the API server about 20 µs a status write


def test_a_field_of_the_pod_spec_is_fixed_mutable_or_the_operators() -> None:
    assert {*FIXED_OF_POD, *MUTABLE_SPEC, *OPERATOR_FIELDS} == set(POD_SPEC_FIELDS)


def test_a_frozen_field_is_compared_where_it_is_and_may_not_come_or_go() -> None:
    found = rules()
    at_spec = [r["rule"] for r in found["spec"]]
    for name in (*FROZEN, *FROZEN_OPTIONAL):
        assert "self == oldSelf" in [r["rule"] for r in found[f"spec.{name}"]], name
    for name in FROZEN_OPTIONAL:
        assert stays(name) in at_spec, name


def test_a_fixed_field_of_the_pod_spec_is_compared_and_may_not_come_or_go() -> None:
    found = rules()
    (template,) = [r for r in found["spec"] if r.get("fieldPath") == ".template"]
    for name in FIXED_OF_POD:
        assert found[f"spec.template.spec.{name}"][0]["rule"] == "self == oldSelf", name
        if name != "containers":  # required
            assert stays(f"template.spec.{name}") in template["rule"], name
            assert f"spec.template.spec.{name}" in template["messageExpression"], name


def test_status_writes_look_at_few_fields_of_the_spec() -> None:
    """Of the rule about the template only the comparison is evaluated while it stays as it was."""
    found = rules()["spec"]
    usual = [r["rule"].partition(" || (self.suspend")[0] for r in found]
    assert sum(len(re.findall(r"\b(?:self|oldSelf)\.", text)) for text in usual) < LOOKS_AT_SPEC
