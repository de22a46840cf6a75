"""When two specs are the same revision, and that a revision comes back as it went."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.core.inference.render import (
    owner_of,
    read_revision,
    revision_digest,
    revision_manifest,
    revision_name,
)
from tests.unit.core.inference import services
from tests.unit.core.inference.rendered import H100, MODEL, SERVICE, role, spec, template

BASE: dict[str, Any] = {"engine": "vllm", "model": MODEL}


def digest(*roles: dict[str, Any], **changes: Any) -> str:
    return revision_digest(services.parsed(spec(*roles, **{**BASE, **changes})))


SAME = [
    ("replicas", {"replicas": 9}),
    ("autoscaling", {"autoscaling": {"maxReplicas": 4}}),
    ("order", {"startPolicy": "LeaderFirst", "startAfter": ["decode"]}),
]
OTHER = [
    ("size", {"groupSize": 2}),
    ("accelerator", {"accelerator": H100}),
    ("image", {"template": template(image="example.org/engine:2")}),
    ("leader", {"leaderTemplate": template()}),
    ("port", {"port": 9000}),
    ("variant", {"variants": [{"accelerator": H100}]}),
    ("parallelism", {"parallelism": {"tensor": 2}}),
]


@pytest.mark.parametrize(("what", "changes"), SAME)
def test_what_pods_are_not_made_from_changes_nothing(what: str, changes: dict[str, Any]) -> None:
    assert digest(role(**changes)) == digest(), what


@pytest.mark.parametrize(
    "changes",
    [
        {"rollout": {"maxSurge": 3, "paused": True}},
        {"drain": {"timeoutSeconds": 1}},
        {"routing": {"port": 81}},
        {"slo": {"ttftSeconds": 1}},
        {"suspend": True},
        {"failurePolicy": {"maxRestarts": 1}},
        {"scheduling": {"gangTimeoutSeconds": 99}},
        {"queue": "research"},
    ],
)
def test_nor_does_what_the_operator_alone_heeds(changes: dict[str, Any]) -> None:
    assert digest(**changes) == digest()


@pytest.mark.parametrize(("what", "changes"), OTHER)
def test_what_pods_are_made_from_makes_another_revision(what: str, changes: dict[str, Any]) -> None:
    assert digest(role(**changes)) != digest(), what


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": "sglang"},
        {"model": {**MODEL, "name": "other"}},
        {"profile": "edge"},
        {"speculative": {"method": "ngram"}},
        {"kvTransfer": {"connector": "c"}},
        {"priorityClassName": "high"},
    ],
)
def test_so_does_what_all_roles_share(changes: dict[str, Any]) -> None:
    assert digest(**changes) != digest()


def test_a_default_that_is_spelled_out_is_the_same() -> None:
    assert digest(role(startPolicy="Parallel", variants=[]), profile="standard") == digest()


def test_a_variants_share_of_the_load_is_not_in_its_pods() -> None:
    first = digest(role(variants=[{"accelerator": H100, "capacity": 2, "maxReplicas": 1}]))
    assert first == digest(role(variants=[{"accelerator": H100}]))


@given(st.integers(0, 500), st.integers(0, 500), st.permutations(["prefill", "decode", "draft"]))
def test_numbers_and_order_of_roles_do_not_matter(one: int, two: int, order: list[str]) -> None:
    roles = [role(name, replicas=one if name == "prefill" else two) for name in order]
    assert digest(*roles) == digest(role("prefill"), role("decode"), role("draft"))


def test_the_hash_never_changes_by_itself() -> None:
    # a change of this value would roll every service of every cluster on the operator's upgrade
    assert digest() == "c9aa58d470"


class TestDocument:
    def test_comes_back_as_it_went(self) -> None:
        parsed = services.parsed(spec(role(replicas=7), **BASE, rollout={"maxSurge": 2}))
        name = revision_name("chat", parsed)
        document = revision_manifest(owner_of(SERVICE), name, 4, parsed)
        found = read_revision({**document, "metadata": {**document["metadata"], "uid": "uid-9"}})
        assert (found.name, found.uid, found.number) == (f"chat-{revision_digest(parsed)}", "uid-9", 4)
        assert found.spec == parsed

    def test_belongs_to_the_service(self) -> None:
        document = revision_manifest(owner_of(SERVICE), "chat-x", 1, services.parsed(spec()))
        assert document["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
        assert document["metadata"]["labels"]["drumline.dev/service-uid"] == "uid-1"
        assert document["metadata"]["labels"]["drumline.dev/revision"] == "chat-x"

    @pytest.mark.parametrize(
        "data", [None, {}, {"spec": None}, {"spec": {"roles": []}}, {"spec": {"new": 1}}]
    )
    def test_what_can_not_be_read_is_said(self, data: Any) -> None:
        with pytest.raises(ValueError, match="validation error"):
            read_revision({"metadata": {"name": "chat-x"}, "data": data, "revision": 1})


def test_where_groups_of_chips_go_is_not_what_their_pods_are() -> None:
    meshes = ({"tensor": 8}, {"tensor": 8, "scaleUp": "Preferred"}, {"tensor": 4, "scaleUp": "Preferred"})
    first, second, third = (digest(role(accelerator=H100, parallelism=mesh)) for mesh in meshes)
    assert first == second != third
