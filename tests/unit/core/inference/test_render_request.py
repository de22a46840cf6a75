"""What a group asks of admission, above all where its leader is of another shape."""

from typing import Any

import pytest

from drumline.api.inference_status import GroupStatus
from drumline.core.gang.types import GangRequest, PlacementPolicy
from drumline.core.inference.observation import Settings
from drumline.core.inference.render import group_request, group_shape
from tests.unit.core.inference import services
from tests.unit.core.inference.rendered import H100, REVISION, SERVICE, role, spec, template

V5P = {"type": "tpu-v5p", "topology": "2x2x2"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def request(raw: dict[str, Any], **changes: Any) -> GangRequest:
    group = GroupStatus(id=3, revision=REVISION, variant=changes.pop("variant", 0))
    return group_request(
        SERVICE,
        services.parsed(raw),
        raw["roles"][0]["name"],
        group,
        services.CATALOG,
        **{"queued_at": 5.0, "settings": Settings(), **changes},
    )


def pod(**fields: Any) -> dict[str, Any]:
    made = template(resources={"requests": fields.pop("requests", {})})
    made["spec"] |= fields
    return made


def affinity(*zones: str) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]} for zone in zones]
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}


def test_a_claim_brings_the_accelerators_in_place_of_the_extended_resource() -> None:
    claims = [{"name": n, "resourceClaimTemplateName": t} for n, t in (("gpu", "eight"), ("nic", "one"))]
    raw = spec(
        role("decode", accelerator={**H100, "resourceClaim": "gpu"}, template=pod(resourceClaims=claims))
    )
    found = request(raw)
    assert "nvidia.com/gpu" not in dict(found.worker.requests)
    assert (found.worker.claims, found.chips_claim) == (("eight", "one"), "eight")


def test_a_place_for_leader_and_workers_has_the_claims_of_both() -> None:
    claims = [
        {"name": n, "resourceClaimTemplateName": t} for n, t in (("a", "nic"), ("b", "nic"), ("c", "disk"))
    ]
    leader, worker = pod(resourceClaims=claims[:2]), pod(resourceClaims=claims[1:])
    raw = spec(role("decode", groupSize=2, accelerator=H100, template=worker, leaderTemplate=leader))
    assert request(raw).worker.claims == ("disk", "nic", "nic")


def test_a_group_is_a_gang_of_its_own() -> None:
    raw = spec(
        role("decode", groupSize=2, accelerator=H100),
        scheduling={"placement": {"policy": "Required", "level": "block"}},
    )
    found = request(raw, priority=7, excluded=frozenset({"bad"}), preferred_nodes={1: "n1"})
    assert (found.uid, found.namespace, found.name) == ("uid-1/decode/3", "ns", "chat")
    assert (found.slices, found.workers_per_slice, found.pods) == (1, 2, 2)
    assert (found.priority, found.queued_at) == (7, 5.0)
    assert (found.policy, found.level) == (PlacementPolicy.REQUIRED, "block")
    assert (found.accelerator, found.chips_per_worker) == ("nvidia-h100-80gb", 8)
    assert (found.excluded, found.preferred_nodes) == (frozenset({"bad"}), {1: "n1"})
    assert dict(found.worker.requests)["nvidia.com/gpu"] == 8
    assert not found.atomic_pool


@pytest.mark.parametrize(("topology", "atomic"), [("2x2x1", False), ("2x2x2", True)])
def test_a_slice_of_several_hosts_takes_its_pool_whole(topology: str, atomic: bool) -> None:
    found = request(spec(role(accelerator={"type": "tpu-v5p", "topology": topology})))
    assert found.atomic_pool is atomic


def test_a_variant_asks_for_its_own_accelerator() -> None:
    found = request(spec(role(accelerator=H100, variants=[{"accelerator": V5P}])), variant=1)
    assert (found.accelerator, found.pods, found.atomic_pool) == ("tpu-v5p", 2, True)


def test_groups_asked_for_together_are_told_apart() -> None:
    the_spec, settings = services.parsed(spec(role(accelerator=H100, groupSize=2))), Settings()
    one, two = (
        group_request(SERVICE, the_spec, "serve", group, services.CATALOG, queued_at=1.0, settings=settings)
        for group in (GroupStatus(id=1, revision="chat-a"), GroupStatus(id=2, revision="chat-b"))
    )
    assert (one.uid, two.uid) == ("uid-1/serve/1", "uid-1/serve/2")
    assert one.worker is two.worker
    told = [(r.labels[0]["drumline.dev/group"], r.labels[0]["drumline.dev/revision"]) for r in (one, two)]
    assert told == [("1", "chat-a"), ("2", "chat-b")]


def test_what_changed_is_asked_for_anew() -> None:
    group = GroupStatus(id=1, revision="chat-a")
    sizes = [
        group_request(
            SERVICE, services.parsed(spec(role(groupSize=n))), "serve", group, services.CATALOG, queued_at=1
        ).pods
        for n in range(1, 20)
    ]
    assert sizes == list(range(1, 20))


def test_one_pods_labels_do_when_templates_agree() -> None:
    [labels] = request(spec(role(groupSize=3))).labels
    assert labels["drumline.dev/role"] == "serve"


class TestLeaderOfAnotherShape:
    def shape(self, leader: dict[str, Any], worker: dict[str, Any]) -> Any:
        return request(spec(role(groupSize=2, leaderTemplate=leader, template=worker))).worker

    def test_of_each_resource_the_larger_request(self) -> None:
        found = self.shape(
            pod(requests={"cpu": "4", "memory": "1Gi"}),
            pod(requests={"cpu": "1", "memory": "2Gi", "x.io/y": 1}),
        )
        assert dict(found.requests) == {"cpu": 4000, "memory": 2 * 1024**3, "x.io/y": 1, "pods": 1}

    def test_selectors_of_both(self) -> None:
        found = self.shape(pod(nodeSelector={"a": "1"}), pod(nodeSelector={"b": "2"}))
        assert found.node_selector == (("a", "1"), ("b", "2"))

    def test_affinity_of_both(self) -> None:
        found = self.shape(pod(affinity=affinity("a", "b")), pod(affinity=affinity("c")))
        assert [[r.values[0] for r in term] for term in found.affinity] == [["a", "c"], ["b", "c"]]
        assert (
            self.shape(pod(affinity=affinity("a")), pod()).affinity
            == self.shape(pod(), pod(affinity=affinity("a"))).affinity
        )

    def test_an_affinity_that_no_node_has_stays_one(self) -> None:
        none = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{}]}}}
        assert self.shape(pod(affinity=none), pod(affinity=affinity("a"))).affinity == ((),)

    def test_only_tolerations_of_both(self) -> None:
        both, one = {"key": "k", "operator": "Exists"}, {"key": "l", "operator": "Exists"}
        found = self.shape(pod(tolerations=[both, one]), pod(tolerations=[both]))
        assert [t.key for t in found.tolerations if not t.key.startswith("node.")] == ["k"]

    def test_labels_of_both(self) -> None:
        leader = {**pod(), "metadata": {"labels": {"part": "leader"}}}
        found = request(spec(role(groupSize=2, leaderTemplate=leader))).labels
        assert [labels.get("part") for labels in found] == ["leader", None]


class TestShape:
    @pytest.mark.parametrize(
        ("changes", "size", "chips", "all_chips"),
        [
            ({}, 1, 0, 0),
            ({"groupSize": 3}, 3, 0, 0),
            ({"accelerator": H100, "groupSize": 2}, 2, 8, 16),
            ({"accelerator": {**H100, "chipsPerWorker": 2}}, 1, 2, 2),
            ({"accelerator": V5P}, 2, 4, 8),
            ({"accelerator": {"type": "tpu-v6e", "topology": "2x4", "chipsPerWorker": 8}}, 1, 8, 8),
        ],
    )
    def test_of_a_role(self, changes: dict[str, Any], size: int, chips: int, all_chips: int) -> None:
        found = group_shape(services.parsed(spec(role(**changes))), "serve", services.CATALOG)
        assert (found.size, found.chips_per_worker, found.chips) == (size, chips, all_chips)

    def test_what_can_not_be(self) -> None:
        catalog = services.CATALOG
        with pytest.raises(KeyError):
            group_shape(services.parsed(spec()), "other", catalog)
        with pytest.raises(KeyError):
            group_shape(services.parsed(spec(role(accelerator={"type": "no-such"}))), "serve", catalog)
        impossible = services.parsed(spec(role(accelerator={"type": "tpu-v5p", "topology": "3x5x7"})))
        with pytest.raises(ValueError, match="topology"):
            group_shape(impossible, "serve", catalog)
