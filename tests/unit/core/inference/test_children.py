"""InferenceRoles, Services and budgets: whom they select, on which port, and when they are written again."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.core.inference.children import (
    Found,
    Split,
    budgets,
    entry_role,
    key_of,
    leader_selector,
    needs,
    role_manifest,
    services,
    url,
)
from drumline.core.inference.render import owner_of
from tests.unit.core.inference.rendered import MODEL, SERVICE, env, prepared, role, spec
from tests.unit.core.inference.services import parsed

OWNER = owner_of(SERVICE)
OLD, NEW = "chat-aaaaaaaaaa", "chat-bbbbbbbbbb"
PAIR = (role("prefill", port=8100), role("decode"))
DIGEST = "drumline.dev/digest"


def made(raw: dict[str, Any], *revisions: str, split: Split | None = None) -> dict[str, Any]:
    """The Services by name."""
    the_spec = parsed(raw)
    found = services(OWNER, the_spec, dict.fromkeys(revisions, the_spec), split)
    assert {resource for resource, _ in found} == {"services"}
    return {manifest["metadata"]["name"]: manifest for _, manifest in found}


def digest(found: Found) -> str:
    text: str = found[1]["metadata"]["annotations"][DIGEST]
    return text


def matches(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


class TestServices:
    def test_one_role(self) -> None:
        found = made(spec(), NEW)
        assert list(found) == ["chat", "chat-serve"]
        assert found["chat"]["spec"] == {
            "selector": {
                "drumline.dev/service": "chat",
                "drumline.dev/service-uid": "uid-1",
                "drumline.dev/role": "serve",
                "drumline.dev/worker": "0",
            },
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "drumline"}],
        }

    def test_the_service_goes_to_the_entry_role_on_the_users_port(self) -> None:
        found = made(spec(*PAIR, routing={"port": 8080}))
        assert found["chat"]["spec"]["selector"]["drumline.dev/role"] == "decode"
        assert {found[name]["spec"]["ports"][0]["port"] for name in found} == {8080}

    def test_several_roles_meet_at_one_revision(self) -> None:
        found = made(spec(*PAIR), OLD, NEW)
        assert set(found) == {
            *("chat", "chat-prefill", "chat-decode"),
            *("chat-prefill-aaaaaaaaaa", "chat-decode-aaaaaaaaaa"),
            *("chat-prefill-bbbbbbbbbb", "chat-decode-bbbbbbbbbb"),
        }
        of_old = found["chat-prefill-aaaaaaaaaa"]["spec"]
        assert of_old["selector"]["drumline.dev/revision"] == OLD
        assert of_old["ports"][0]["port"] == 8100, "the leaders' own: routing.port is of no revision"

    def test_a_pod_is_told_of_services_that_are_there(self) -> None:
        found = made(spec(*PAIR), "chat-0123456789")
        host, _, port = env(spec(*PAIR), "decode")["DRUMLINE_PEERS_PREFILL"].partition(":")
        service = found[host.partition(".")[0]]
        assert service["spec"]["ports"][0]["port"] == int(port)

    def test_a_split_has_a_service_for_each_side(self) -> None:
        found = made(spec(*PAIR), split=Split(OLD, NEW, 5))
        for name, revision in (("chat-stable", OLD), ("chat-canary", NEW)):
            selector = found[name]["spec"]["selector"]
            assert (selector["drumline.dev/revision"], selector["drumline.dev/role"]) == (revision, "decode")

    def test_only_leaders_of_that_service_are_selected(self) -> None:
        group = prepared(spec(role("decode", groupSize=2)), revision=NEW)
        leader, worker = (group.pod(n, None)["metadata"]["labels"] for n in (0, 1))
        found = made(spec(role("decode")), split=Split(OLD, NEW, 5))
        for name, expected in (("chat", True), ("chat-canary", True), ("chat-stable", False)):
            selector = found[name]["spec"]["selector"]
            assert matches(selector, leader) is expected
            assert not matches(selector, worker)
            assert not matches(selector, {**leader, "drumline.dev/service-uid": "another"})

    def test_the_port_has_a_name_in_the_pod(self) -> None:
        service = made(spec(engine="vllm", model=MODEL))["chat"]["spec"]
        ports = prepared(spec(engine="vllm", model=MODEL)).pod(0, None)["spec"]["containers"][0]["ports"]
        assert [p["containerPort"] for p in ports if p["name"] == service["ports"][0]["targetPort"]] == [8000]


class TestEntry:
    @pytest.mark.parametrize(
        ("roles", "routing", "expected"),
        [
            (["a", "serve", "decode"], {}, "serve"),
            (["prefill", "decode"], {}, "decode"),
            (["a", "b"], {}, "a"),
            (["prefill", "decode"], {"role": "prefill"}, "prefill"),
        ],
    )
    def test_role(self, roles: list[str], routing: dict[str, str], expected: str) -> None:
        assert entry_role(parsed(spec(*map(role, roles), routing=routing))) == expected

    def test_url(self) -> None:
        assert url(OWNER, parsed(spec()), "cluster.local") == "http://chat.ns.svc.cluster.local"
        other = parsed(spec(routing={"port": 8080}))
        assert url(OWNER, other, "example.org") == "http://chat.ns.svc.example.org:8080"


class TestRole:
    def test_manifest(self) -> None:
        found = role_manifest(OWNER, "decode", 4)
        assert (found["apiVersion"], found["kind"]) == ("drumline.dev/v1alpha1", "InferenceRole")
        assert found["metadata"]["name"] == "chat-decode"
        assert found["spec"] == {"service": "chat", "role": "decode", "replicas": 4}

    def test_the_selector_finds_one_pod_a_group(self) -> None:
        pairs = dict(pair.split("=") for pair in leader_selector(OWNER, "decode").split(","))
        group = prepared(spec(role("decode", groupSize=3)))
        labels = [group.pod(n, None)["metadata"]["labels"] for n in range(3)]
        assert [matches(pairs, each) for each in labels] == [True, False, False]


class TestBudgets:
    def test_counts_pods_less_what_may_be_out(self) -> None:
        [(resource, found)] = budgets(OWNER, {"decode": 8}, 2)
        assert (resource, found["metadata"]["name"]) == ("poddisruptionbudgets", "chat-decode")
        assert found["spec"] == {
            "minAvailable": 6,
            "selector": {
                "matchLabels": {
                    "drumline.dev/service": "chat",
                    "drumline.dev/service-uid": "uid-1",
                    "drumline.dev/role": "decode",
                }
            },
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }

    def test_selects_all_pods_of_its_role_alone(self) -> None:
        [(_, found)] = budgets(OWNER, {"decode": 2}, 0)
        selector = found["spec"]["selector"]["matchLabels"]
        pair = prepared(spec(role("decode", groupSize=2)))
        assert all(matches(selector, pair.pod(n, None)["metadata"]["labels"]) for n in (0, 1))
        assert not matches(selector, prepared(spec(role("prefill"))).pod(0, None)["metadata"]["labels"])

    @given(st.integers(0, 500), st.integers(1, 16), st.integers(0, 10))
    def test_never_more_groups_are_hit_than_may_be(self, groups: int, size: int, unavailable: int) -> None:
        [(_, found)] = budgets(OWNER, {"serve": groups * size}, unavailable)
        evictable = groups * size - found["spec"]["minAvailable"]
        assert 0 <= evictable <= unavailable, "each of these pods may be of another group"


class TestDigest:
    def test_what_is_there_is_not_written_again(self) -> None:
        found = services(OWNER, parsed(spec()), {})[0]
        assert needs(found, None)
        assert needs(found, "other")
        assert not needs(found, digest(found))
        assert key_of(found) == "services/chat"

    def test_is_the_same_for_the_same_and_another_for_another(self) -> None:
        digests = [digest(services(OWNER, parsed(spec(routing={"port": p})), {})[0]) for p in (80, 80, 81)]
        assert digests[0] == digests[1] != digests[2]

    def test_everything_carries_one_and_belongs_to_the_service(self) -> None:
        the_spec = parsed(spec(*PAIR))
        found = [
            *(m for _, m in services(OWNER, the_spec, {NEW: the_spec}, Split(OLD, NEW, 5))),
            *(m for _, m in budgets(OWNER, {"decode": 1}, 0)),
            role_manifest(OWNER, "decode", 1),
        ]
        for manifest in found:
            assert len(manifest["metadata"]["annotations"][DIGEST]) == 16
            assert manifest["metadata"]["ownerReferences"] == [OWNER.owner_reference()]
            assert manifest["metadata"]["labels"]["drumline.dev/service-uid"] == "uid-1"
