"""HTTPRoutes and InferencePools: where requests go, and in what shares."""

from typing import Any

import pytest

from drumline.core.inference.children import Split
from drumline.core.inference.children_routes import pools, routes
from drumline.core.inference.render import owner_of
from tests.unit.core.inference.rendered import SERVICE, role, spec
from tests.unit.core.inference.services import parsed

OWNER = owner_of(SERVICE)
OLD, NEW = "chat-aaaaaaaaaa", "chat-bbbbbbbbbb"
SPLIT = Split(OLD, NEW, 5)
POOL = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "chat"}


def routed(gateway: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    raw = spec(routing={"port": 8080, "gateway": {"name": "front", **(gateway or {})}})
    [(resource, found)] = routes(OWNER, parsed(raw), **changes)
    assert resource == "httproutes"
    return found


def backends(**changes: Any) -> list[dict[str, Any]]:
    [rule] = routed(**changes)["spec"]["rules"]
    found: list[dict[str, Any]] = rule["backendRefs"]
    return found


def pooled(*roles: dict[str, Any], **picker: Any) -> dict[str, Any]:
    return spec(*roles, routing={"inferencePool": {"endpointPicker": "picker", **picker}})


class TestRoute:
    def test_none_without_a_gateway(self) -> None:
        assert routes(OWNER, parsed(spec())) == ()

    def test_names_its_gateway(self) -> None:
        found = routed()
        assert (found["apiVersion"], found["kind"]) == ("gateway.networking.k8s.io/v1", "HTTPRoute")
        assert found["spec"]["parentRefs"] == [
            {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "front"}
        ]
        assert "hostnames" not in found["spec"]

    def test_of_another_namespace_and_for_some_hosts(self) -> None:
        found = routed({"namespace": "infra", "hostnames": ["chat.example.org"]})["spec"]
        assert found["parentRefs"][0]["namespace"] == "infra"
        assert found["hostnames"] == ["chat.example.org"]

    def test_everything_goes_to_the_service(self) -> None:
        assert backends() == [{"kind": "Service", "name": "chat", "port": 8080, "weight": 100}]

    @pytest.mark.parametrize("weight", [0, 5, 100])
    def test_a_split_is_by_weight(self, weight: int) -> None:
        assert backends(split=Split(OLD, NEW, weight)) == [
            {"kind": "Service", "name": "chat-stable", "port": 8080, "weight": 100 - weight},
            {"kind": "Service", "name": "chat-canary", "port": 8080, "weight": weight},
        ]

    def test_to_the_pool(self) -> None:
        assert backends(pooled=True) == [{**POOL, "weight": 100}]

    def test_a_canary_is_past_the_pool(self) -> None:
        assert backends(split=SPLIT, pooled=True) == [
            {**POOL, "weight": 95},
            {"kind": "Service", "name": "chat-canary", "port": 8080, "weight": 5},
        ]


class TestPool:
    def test_none_without_a_picker(self) -> None:
        assert pools(OWNER, parsed(spec())) == ()

    def test_holds_the_entry_roles_leaders(self) -> None:
        raw = pooled(role("prefill"), role("decode", port=9000), port=9100, failureMode="FailClose")
        [(resource, found)] = pools(OWNER, parsed(raw))
        assert resource == "inferencepools"
        assert (found["apiVersion"], found["metadata"]["name"]) == ("inference.networking.k8s.io/v1", "chat")
        assert found["spec"] == {
            "selector": {
                "matchLabels": {
                    "drumline.dev/service": "chat",
                    "drumline.dev/service-uid": "uid-1",
                    "drumline.dev/role": "decode",
                    "drumline.dev/worker": "0",
                }
            },
            "targetPorts": [{"number": 9000}],
            "endpointPickerRef": {
                "kind": "Service",
                "name": "picker",
                "port": {"number": 9100},
                "failureMode": "FailClose",
            },
        }

    def test_during_a_split_the_stable_ones_alone_on_their_port(self) -> None:
        was, now = parsed(pooled(role(port=7000))), parsed(pooled(role(port=9000)))
        [(_, found)] = pools(OWNER, now, {OLD: was}, SPLIT)
        assert found["spec"]["selector"]["matchLabels"]["drumline.dev/revision"] == OLD
        assert found["spec"]["targetPorts"] == [{"number": 7000}]

    @pytest.mark.parametrize("revisions", [{}, {OLD: parsed(pooled(role("other", port=7000)))}])
    def test_a_revision_that_does_not_say_its_port_has_the_specs(self, revisions: dict[str, Any]) -> None:
        [(_, found)] = pools(OWNER, parsed(pooled(role(port=9000))), revisions, SPLIT)
        assert found["spec"]["targetPorts"] == [{"number": 9000}]
