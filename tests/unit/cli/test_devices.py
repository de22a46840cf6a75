"""Devices in what `kubectl drumline` reads of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.cli import cluster
from drumline.cli.devices import RESOURCES, equip, with_devices
from drumline.core.gang.explain import explain
from tests.builders import capacity, node
from tests.unit.core.gang.device_world import (
    claiming,
    gpus,
    raw_claim,
    raw_class,
    raw_request,
    raw_slice,
    raw_template,
)

ACCESS = cluster.Access("", None)
CLAIMS = {"spec": {"template": {"spec": {"resourceClaims": [{"name": "gpu"}]}}}}


def found(**more: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {
        "deviceclasses": [raw_class("gpu", "device.driver == 'gpu.example.com'")],
        "resourceclaimtemplates": [raw_template("two", raw_request(2))],
        "resourceslices": [raw_slice("a", *gpus(4))],
        "resourceclaims": [],
        **more,
    }


def test_a_gang_that_waits_is_explained_by_devices() -> None:
    room = capacity(node("a", gpus=0))
    equip(room, found(), ())
    assert explain(claiming("g", 2), room, (), (), 0.0).refusal is None
    told = explain(claiming("g", 3), room, (), (), 0.0)
    assert told.refusal is not None
    assert told.refusal.message == "needs 3 × worker (each 2 devices of class gpu); 2 free (1/1 node usable)"
    assert told.ever is not None
    taken = capacity(node("a", gpus=0))
    equip(taken, found(resourceclaims=[raw_claim("c", "a", "gpu-0")]), ())
    assert explain(claiming("g", 2), taken, (), (), 0.0).refusal is not None


def test_without_devices_a_gang_with_claims_is_told_so() -> None:
    room = capacity(node("a", gpus=0))
    equip(room, {}, ())
    told = explain(claiming("g", 1), room, (), (), 0.0)
    assert told.refusal is not None
    assert "nothing is known of devices" in told.refusal.message


@pytest.mark.parametrize("owner", ["trainingjobs", "inferenceservices"])
def test_devices_are_read_where_somebody_has_claims(owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def listed(access: cluster.Access, resources: dict[str, str]) -> dict[str, list[Any]]:
        asked.append(tuple(resources))
        return {resource: [] for resource in resources}

    monkeypatch.setattr(cluster, "list_each", listed)
    plain = {owner: [{"spec": {"template": {"spec": {}}}}]}
    assert with_devices(ACCESS, plain) == plain
    assert not asked
    assert with_devices(ACCESS, {owner: [CLAIMS]}).keys() == {owner, *RESOURCES}
    assert asked == [RESOURCES]


def test_devices_that_cannot_be_read_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> Any:
        raise cluster.RefusedError("no")

    monkeypatch.setattr(cluster, "list_each", refused)
    jobs = {"trainingjobs": [CLAIMS]}
    assert with_devices(ACCESS, jobs) == jobs
