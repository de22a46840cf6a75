"""Reading objects of resource.k8s.io/v1, and which slices of a pool count."""

from typing import Any

import pytest

from drumline.core.gang.device_pools import Pools, current
from drumline.core.gang.devices import (
    DeviceAsk,
    Version,
    claim_template,
    read_claim,
    read_class,
    read_slice,
    read_template,
)
from drumline.core.gang.types import Taint, Toleration
from tests.unit.core.gang.device_world import (
    DRIVER,
    gpus,
    raw_claim,
    raw_class,
    raw_request,
    raw_slice,
    raw_template,
)


def test_a_device_has_its_attributes_by_qualified_name() -> None:
    attributes = {
        "model": {"string": "H100"},
        "index": {"int": 0},
        "healthy": {"bool": False},
        "other.example.com/firmware": {"version": "1.2.3"},
    }
    device = {"name": "d", "attributes": attributes, "capacity": {"memory": {"value": "80Gi"}}}
    (found,) = read_slice(raw_slice("n1", device)).devices
    assert found.id == (DRIVER, "n1", "d")
    assert found.attributes == {
        f"{DRIVER}/model": "H100",
        f"{DRIVER}/index": 0,
        f"{DRIVER}/healthy": False,
        "other.example.com/firmware": Version("1.2.3"),
    }
    assert found.capacity == {f"{DRIVER}/memory": "80Gi"}
    assert (found.taints, found.odd) == ((), "")


def test_only_taints_that_keep_claims_off_are_kept() -> None:
    taints = [{"key": k, "value": "v", "effect": e} for k, e in (("a", "NoSchedule"), ("b", "None"))]
    (found,) = read_slice(
        raw_slice("n1", {"name": "d", "taints": [*taints, {"key": "c", "effect": "NoExecute"}]})
    ).devices
    assert found.taints == (Taint("a", "v", "NoSchedule"), Taint("c", "", "NoExecute"))


TWO_KINDS = (raw_request(name="r"), raw_request(1, "other", name="s"))
TWO_ALIKE = (raw_request(name="r"), raw_request(name="s"))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (raw_slice("n1", {"name": "d", "allowMultipleAllocations": True}), "allowMultipleAllocations"),
        (raw_slice("n1", {"name": "d", "consumesCounters": [{"counterSet": "c"}]}), "consumesCounters"),
        (raw_slice("n1", {"name": "d", "bindingConditions": ["ready"]}), "bindingConditions"),
        (raw_slice("n1", {"name": "d", "attributes": {"numa": {"ints": [1, 2]}}}), "attribute numa"),
        (raw_slice("", "d", pool="p", allNodes=True), "pool p is not of one node (allNodes)"),
        (
            raw_slice("", "d", pool="p", nodeSelector={"nodeSelectorTerms": []}),
            "not of one node (nodeSelector)",
        ),
        (
            raw_slice("", "d", pool="p", perDeviceNodeSelection=True),
            "not of one node (perDeviceNodeSelection)",
        ),
    ],
)
def test_a_device_that_is_not_counted_says_why(raw: dict[str, Any], text: str) -> None:
    (found,) = read_slice(raw).devices
    assert text in found.odd


def test_requests_of_one_kind_are_added_up() -> None:
    found = read_template(raw_template("t", raw_request(2), raw_request(1), raw_request(1, "gpu", "yes")))
    assert found.asks == ((DeviceAsk("gpu"), 3), (DeviceAsk("gpu", ("yes",)), 1))
    assert (found.devices, found.odd, found.key) == (4, (), ("ml", "t"))
    plain, picky = (ask.resource for ask, _ in found.asks)
    assert plain == "devices of class gpu"
    assert picky.startswith("devices of class gpu [")


@pytest.mark.parametrize(
    ("template", "odd"),
    [
        (raw_template("t", raw_request(allocationMode="All")), "requests[r].allocationMode All"),
        (raw_template("t", raw_request(adminAccess=True)), "requests[r].adminAccess"),
        (raw_template("t", raw_request(capacity={"requests": {"memory": "1Gi"}})), "requests[r].capacity"),
        (raw_template("t", {"name": "x", "firstAvailable": [{"name": "a"}]}), "requests[x].firstAvailable"),
        (raw_template("t", {"name": "x", "later": {}}), "requests[x].exactly"),
        (raw_template("t", raw_request(), constraints=[{"distinctAttribute": "a/b"}]), "constraints"),
        (raw_template("t", *TWO_KINDS, constraints=[{"matchAttribute": "a/b"}]), "constraints"),
        (
            raw_template("t", *TWO_ALIKE, constraints=[{"matchAttribute": "a/b", "requests": ["r"]}]),
            "constraints",
        ),
        (
            raw_template("t", {"name": "x", "exactly": {"deviceClassName": "c", "selectors": [{}]}}),
            "requests[x].selectors[0]",
        ),
    ],
)
def test_what_a_template_has_that_is_not_modelled_is_named(template: dict[str, Any], odd: str) -> None:
    assert read_template(template).odd == (odd,)


def test_tolerations_are_a_part_of_what_is_asked() -> None:
    raw = raw_request(tolerations=[{"key": "a", "operator": "Exists", "effect": "NoExecute"}])
    ((ask, _),) = read_template(raw_template("t", raw)).asks
    assert ask.tolerations == (Toleration("a", "Exists", "", "NoExecute"),)
    assert ask.resource != DeviceAsk("gpu").resource


def test_a_class_has_its_selectors() -> None:
    assert read_class(raw_class("gpu", "a", "b")).selectors == ("a", "b")
    assert read_class({"metadata": {"name": "x"}, "spec": {"selectors": [{"new": 1}]}}).odd == (
        "selectors[0]",
    )


def test_a_claim_has_its_devices_its_node_and_its_pod() -> None:
    found = read_claim(raw_claim("c", "n1", "gpu-0", "gpu-1", pod="p"))
    assert found is not None
    assert found.devices == {(DRIVER, "n1", "gpu-0"), (DRIVER, "n1", "gpu-1")}
    assert (found.node, found.pod, found.pod_uid) == ("n1", ("ml", "p"), "p-uid")


def test_a_claim_without_devices_of_its_own_holds_none() -> None:
    pending = raw_claim("c", "n1")
    assert read_claim({**pending, "status": {}}) is None
    watching = raw_claim("c", "n1", "gpu-0")
    watching["status"]["allocation"]["devices"]["results"][0]["adminAccess"] = True
    found = read_claim(watching)
    assert found is not None
    assert not found.devices


def test_the_template_behind_a_pods_claim() -> None:
    spec = {
        "resourceClaims": [
            {"name": "a", "resourceClaimTemplateName": "t"},
            {"name": "b", "resourceClaimName": "c"},
        ]
    }
    assert [claim_template(spec, n) for n in ("a", "b", "x", None)] == ["t", "", "", ""]


def _slices(*raws: dict[str, Any]) -> dict[str, int]:
    return {node: len(devices) for node, devices in current(map(read_slice, raws)).items()}


def test_the_newest_generation_counts_once_it_is_whole() -> None:
    old = raw_slice("n1", *gpus(4), name="old")
    first = raw_slice("n1", *gpus(4), name="new-0", generation=2, count=2)
    second = raw_slice("n1", *gpus(4, 4), name="new-1", generation=2, count=2)
    assert _slices(old) == {"n1": 4}
    assert _slices(old, first) == {}
    assert _slices(old, first, second) == {"n1": 8}
    assert _slices(first, second) == {"n1": 8}
    assert _slices() == {}


def test_a_pool_that_names_a_device_twice_does_not_count() -> None:
    slices = [raw_slice("n1", *gpus(2), name=f"s{i}", count=2) for i in range(2)]
    assert _slices(*slices) == {}


def test_a_pool_may_have_slices_of_several_nodes() -> None:
    a, b = (raw_slice(n, *gpus(2, first), pool="p", nodeName=n, count=2) for n, first in (("a", 0), ("b", 2)))
    assert _slices(a, b) == {"a": 2, "b": 2}
    assert _slices(a) == {}


def test_pools_tell_which_nodes_change() -> None:
    pools = Pools()
    first, second = (read_slice(raw_slice("n1", *gpus(n), generation=n)) for n in (1, 2))
    other = read_slice(raw_slice("n2", *gpus(1)))
    assert pools.take(None, first) == {"n1"}
    assert pools.take(None, other) == {"n2"}
    assert pools.take(first, first) == set()
    assert pools.take(first, second) == {"n1"}
    assert [d.id[2] for d in pools.on("n1")] == ["gpu-0", "gpu-1"]
    moved = read_slice(raw_slice("n3", *gpus(1), name="n1-slice"))
    assert pools.take(second, moved) == {"n1", "n3"}
    assert pools.take(other, None) == {"n2"}
    assert set(pools.nodes()) == {"n3"}
