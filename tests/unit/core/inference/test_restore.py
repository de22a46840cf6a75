"""Going back: the pods of then with the numbers of now."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.core.inference.render import revision_digest
from drumline.core.inference.restore import merge_patch, restored
from tests.unit.core.inference.services import parsed, role, spec


def of(image: str) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "engine", "image": image}]}}


NOW = spec(
    role("prefill", replicas=5, template=of("b"), autoscaling={"maxReplicas": 9}, startAfter=["decode"]),
    role("decode", replicas=3, groupSize=4, template=of("b"), leaderTemplate=of("c")),
    engine="vllm",
    model={"name": "big", "cache": {"claimName": "weights"}},
    rollout={"maxSurge": 2},
    suspend=True,
)


@pytest.mark.parametrize(
    "then",
    [
        spec(),
        NOW,
        spec(role("decode", replicas=1, template=of("a")), role("serve", replicas=7)),
        spec(role("prefill", port=9000), engine="sglang", model={"name": "small"}, profile="edge"),
        spec(role("decode", variants=[{"accelerator": {"type": "nvidia-l4"}, "maxReplicas": 2}])),
        spec(speculative={"method": "ngram"}, kvTransfer={"connector": "NixlConnector"}),
    ],
)
def test_the_pods_are_those_of_then(then: dict[str, Any]) -> None:
    found = restored(parsed(NOW), parsed(then))
    assert revision_digest(found) == revision_digest(parsed(then))
    rest = {"engine", "model", "profile", "roles", "speculative", "kv_transfer", "priority_class_name"}
    assert found.model_dump(exclude=rest) == parsed(NOW).model_dump(exclude=rest)


def test_a_role_keeps_its_numbers_and_a_new_one_has_those_of_then() -> None:
    found = restored(parsed(NOW), parsed(spec(role("decode", replicas=1), role("serve", replicas=7))))
    assert [(r.name, r.replicas) for r in found.roles] == [("decode", 3), ("serve", 7)]
    found = restored(parsed(NOW), parsed(spec(role("prefill", replicas=1))))
    assert found.roles[0].autoscaling == parsed(NOW).roles[0].autoscaling
    assert found.roles[0].start_after == ("decode",)


def test_limits_of_variants_are_numbers_too() -> None:
    variant = {"accelerator": {"type": "nvidia-l4"}, "maxReplicas": 2}
    now, then = (parsed(spec(role(variants=[{**variant, "maxReplicas": most}]))) for most in (5, 2))
    assert restored(now, then).roles[0].variants[0].max_replicas == 5


JSON = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def merged(before: Any, patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7386, section 2."""
    result = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value) if isinstance(value, dict) else value
    return result


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_makes_the_one_of_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, merge_patch(before, after)) == after
    assert merge_patch(after, after) == {}


def test_the_patch_takes_away_what_then_had_not() -> None:
    now, then = parsed(NOW), parsed(spec(role("decode"), engine="vllm", model={"name": "big"}))
    patch = merge_patch(now.to_json(), restored(now, then).to_json())
    assert patch["model"] == {"cache": None}
    assert set(patch) == {"model", "roles"}
