"""Devices that pods claim: the core's count against the real scheduler's, and gangs that run on claims."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_capacity import Devices, resolved
from drumline.core.gang.devices import read_claim, read_class, read_slice, read_template
from drumline.core.gang.feasibility import examine
from drumline.core.gang.pods import pin
from drumline.core.gang.projection import project_node
from drumline.core.gang.projection_shape import shape_of
from drumline.core.gang.types import GangRequest, Refusal
from drumline.runtime.device_selectors import Selectors
from drumline.runtime.http_paths import resource_path
from tests.integration.dra import UNHEALTHY, Dra, claims, devices, driver_of, job_of, serve
from tests.integration.operator.lab import SECONDS, Lab, Manifest, condition, node_of

pytestmark = pytest.mark.cluster

HOSTS = 10
STEPS = 3
TEMPLATES = ("one", "two", "h100", "h100-small", "tolerant", "one+two", "pair", "pair", "trio")


@pytest.fixture
async def dra(lab: Lab) -> AsyncIterator[Dra]:
    async with driver_of(lab) as made:
        yield made


async def test_a_pinned_pod_with_claims_binds_exactly_when_the_core_says_so(dra: Dra) -> None:
    random = Random(7)
    nodes = await dra.lab.nodes(f"{HOSTS} hosts of h100 in blocks of {HOSTS}")
    await _equip(dra, random, nodes)
    verdicts = []
    for step in range(STEPS):
        asked = {n: random.choice(TEMPLATES) for n in nodes}
        specs = {node: _pod_spec(template) for node, template in asked.items()}
        said = await _verdicts(dra, specs)
        names = {node: f"s{step}-{i}" for i, node in enumerate(nodes)}
        for node, spec in specs.items():
            body = {"metadata": {"name": names[node]}, "spec": pin(spec, node)}
            await dra.lab.client.request("POST", resource_path("pods", dra.lab.namespace), body=body)
        expected = {names[node]: copies for node, copies in said.items()}
        for name, bound in (await _decisions(dra.lab, expected)).items():
            assert (bound == "bound") is expected[name], f"{name}: the core said {expected[name]}: {bound}"
        verdicts += [(asked[node] in ("pair", "trio"), fits) for node, fits in said.items()]
        for name in (n for n, fits in expected.items() if not fits):
            await dra.lab.delete("pods", name, gracePeriodSeconds=0)
    answers = [fits for _, fits in verdicts]
    assert min(answers.count(True), answers.count(False)) > 5
    assert {fits for in_sets, fits in verdicts if in_sets} == {True, False}


async def test_gangs_get_devices_and_wait_for_them(dra: Dra) -> None:
    lab = dra.lab
    nodes = await lab.nodes("4 hosts of h100 in blocks of 4")
    await dra.make_class()
    await dra.template("two", count=2)
    for node in nodes[:2]:
        await dra.slice(node, *devices(4))
    await dra.slice(nodes[2], *devices(3), *devices(1, 3, taints=(UNHEALTHY,)))
    await lab.apply(job_of(lab, "first"))
    await lab.phase("first", "Running")
    given = await dra.allocated()
    assert sorted(map(len, given.values())) == [2] * 4
    assert set.union(*given.values()) == {(n, f"gpu-{i}") for n in nodes[:2] for i in range(4)}
    assert all("nvidia.com/gpu" not in str(p["spec"]["containers"]) for p in await lab.pods())
    await lab.apply(job_of(lab, "second"))
    said = await lab.until(
        "second", lambda j: "devices of class" in condition(j, "QuotaReserved").get("message", "")
    )
    message = condition(said, "QuotaReserved")["message"]
    assert condition(said, "QuotaReserved")["reason"] == "InsufficientAccelerators", message
    text = f"needs 8 × nvidia-h100-80gb (each worker 2 devices of class {dra.device_class}); 2 free"
    assert message.startswith(text), message
    assert f"insufficient devices of class {dra.device_class}" in message
    done = await lab.plugin("explain", "second", "-n", lab.namespace, "-o", "json")
    told = json.loads(done.stdout)
    assert told["message"].startswith(text), done
    assert [gang["name"] for gang in told["wouldHaveToEnd"]] == [f"{lab.namespace}/first"]
    await dra.slice(nodes[3], *devices(6))
    await lab.phase("second", "Running")
    second = set.union(*(d for name, d in (await dra.allocated()).items() if name.startswith("second")))
    assert len(second) == 8
    assert (nodes[2], "gpu-3") not in second
    assert {node_of(p) for p in await lab.pods() if p["metadata"]["name"].startswith("second")} == set(
        nodes[2:]
    )


async def test_a_gang_restarts_on_the_devices_that_it_had(dra: Dra) -> None:
    lab = dra.lab
    nodes = await lab.nodes("2 hosts of h100 in blocks of 2")
    await dra.make_class()
    await dra.template("two", count=2)
    for node in nodes:
        await dra.slice(node, *devices(4))
    await lab.apply(job_of(lab, "again"))
    await lab.phase("again", "Running")
    await lab.apply(job_of(lab, "behind", workersPerSlice=1))
    await lab.until(
        "behind", lambda j: "insufficient devices" in condition(j, "QuotaReserved").get("message", "")
    )
    await lab.delete("pods", "again-1-0-2", gracePeriodSeconds=0)
    await lab.until("again", lambda j: j["status"]["attempt"] == 2 and j["status"]["phase"] == "Running")
    given = {n: d for n, d in (await dra.allocated()).items() if n.startswith("again-2-")}
    assert sorted(map(len, given.values())) == [2] * 4
    assert len(set.union(*given.values())) == 8
    await lab.delete("trainingjobs", "again")
    await lab.phase("behind", "Running")


async def test_a_gang_leaves_a_device_that_fails(dra: Dra) -> None:
    lab = dra.lab
    nodes = await lab.nodes("3 hosts of h100 in blocks of 3")
    await dra.make_class()
    await dra.template("two", count=2)
    for node in nodes:
        await dra.slice(node, *devices(4))
    await lab.apply(job_of(lab, "brittle"))
    await lab.phase("brittle", "Running")
    bad = min({node_of(p) for p in await lab.pods()})
    fault = {**UNHEALTHY, "effect": "NoExecute"}
    await dra.change(bad, dra.slice_of(bad, *devices(3), *devices(1, 3, taints=(fault,)), generation=2))
    await lab.until("brittle", lambda j: j["status"]["attempt"] == 2 and j["status"]["phase"] == "Running")
    attempts = (await lab.get("brittle"))["status"]["attempts"]
    assert (attempts[0]["cause"], attempts[0]["node"]) == ("DeviceFault", bad)
    given = {n: d for n, d in (await dra.allocated()).items() if n.startswith("brittle-2-")}
    assert {pool for d in given.values() for pool, _ in d} == set(nodes) - {bad}


async def test_groups_of_a_service_may_have_claims(dra: Dra) -> None:
    lab = dra.lab
    (node,) = await lab.nodes("1 hosts of h100 in blocks of 1")
    await dra.make_class()
    await dra.template("two", count=2)
    await dra.slice(node, *devices(3))
    path = await serve(lab, "chat", replicas=2)
    started = time.monotonic()
    while not await dra.allocated():
        assert time.monotonic() < started + SECONDS, await lab.client.request("GET", f"{path}/chat")
        await asyncio.sleep(0.1)
    (given,) = (await dra.allocated()).values()
    assert len(given) == 2
    assert len(await lab.pods("drumline.dev/service")) == 1


async def test_a_claim_of_the_wrong_size_and_one_that_is_not_modelled_are_refused_by_name(dra: Dra) -> None:
    lab = dra.lab
    (node,) = await lab.nodes("1 hosts of h100 in blocks of 1")
    await dra.make_class()
    await dra.slice(node, *devices(8))
    await dra.template("two", count=1)
    await dra.template("all", allocationMode="All")
    await lab.apply(job_of(lab, "small", workersPerSlice=1))
    await lab.apply(job_of(lab, "greedy", "all", workersPerSlice=1))
    for name, text in (
        ("small", "/two asks for 1 device(s), and a worker has 2 × nvidia-h100-80gb"),
        ("greedy", "/all: gang placement does not model requests[gpu].allocationMode All"),
    ):
        await lab.until(name, lambda j, text=text: text in condition(j, "QuotaReserved").get("message", ""))
    assert await lab.pods() == []


async def test_a_hostile_selector_holds_nobody_else_up(dra: Dra) -> None:
    lab = dra.lab
    (node,) = await lab.nodes("1 hosts of h100 in blocks of 1")
    await dra.make_class()
    kinds = [{"name": f"x-{i}", "attributes": {"i": {"int": i}}} for i in range(100)]
    await dra.slice(node, *kinds)
    await dra.template("two", count=2)
    walk = f"[{','.join(map(str, range(200)))}].all(x, x + x >= x || x < 0)"
    cel = f"device.attributes['{dra.driver}'].i >= 0 && {walk}"
    for number in range(3):
        selectors = [{"cel": {"expression": f"{cel} && {i + 100 * number} >= 0"}} for i in range(3)]
        await dra.template(f"hostile-{number}", count=2, selectors=selectors)
        await lab.apply(job_of(lab, f"hostile-{number}", f"hostile-{number}", workersPerSlice=1))
    await lab.apply(job_of(lab, "small", workersPerSlice=1))
    await lab.phase("small", "Running")
    text = "takes more than 2 s to evaluate on all devices"
    await lab.until("hostile-0", lambda j: text in condition(j, "QuotaReserved").get("message", ""))


async def _equip(dra: Dra, random: Random, nodes: list[str]) -> None:
    """A class, templates, and on each node another mixture of devices."""
    await dra.make_class()
    domain = f"device.attributes['{dra.driver}']"
    h100 = {"cel": {"expression": f"'model' in {domain} && {domain}.model == 'H100'"}}
    large = {"cel": {"expression": f"device.capacity['{dra.driver}'].memory.compareTo(quantity('80Gi')) < 0"}}
    await dra.template("one", count=1)
    await dra.template("two", count=2)
    await dra.template("h100", count=1, selectors=[h100])
    await dra.template("h100-small", count=1, selectors=[h100, large])
    await dra.template("tolerant", count=2, tolerations=[{"key": UNHEALTHY["key"], "operator": "Exists"}])
    for name, count in (("pair", 2), ("trio", 3)):
        same = [{"requests": ["gpu"], "matchAttribute": f"{dra.driver}/numa"}]
        await dra.template(name, same, count=count)
    for number, node in enumerate(nodes):
        made = [
            {
                "name": f"gpu-{i}",
                "attributes": {
                    **({"model": {"string": random.choice(["H100", "A100"])}} if i else {}),
                    **({"numa": {"int": random.choice([0, 1])}} if random.random() < 0.9 else {}),
                },
                "capacity": {"memory": {"value": random.choice(["40Gi", "80Gi", "96G"])}},
                **({"taints": [UNHEALTHY]} if random.random() < 0.25 else {}),
            }
            for i in range(random.choice([0, 2, 3, 5, 7]))
        ]
        if number == 0:  # a pool that is not whole
            await dra.slice(node, *devices(4), resourceSliceCount=2)
        elif number == 1:  # a newer generation is on its way
            await dra.slice(node, *devices(4), suffix="-old")
            await dra.slice(node, *devices(2), suffix="-new", generation=2, resourceSliceCount=1)
        elif made:
            await dra.slice(node, *made)


def _pod_spec(template: str) -> Manifest:
    return {
        "tolerations": [{"operator": "Exists"}],
        "resourceClaims": claims(*template.split("+")),
        "containers": [{"name": "main", "image": "pause:3.10", "resources": {"claims": [{"name": "gpu"}]}}],
    }


async def _verdicts(dra: Dra, specs: dict[str, Manifest]) -> dict[str, bool]:
    """What the core says of one pod on each node, each judged by itself."""
    raws = {r: await dra.every(r) for r in ("deviceclasses", "resourceslices", "resourceclaims")}
    raws["resourceclaimtemplates"] = await dra.lab.list("resourceclaimtemplates")
    nodes = (await dra.lab.client.request("GET", resource_path("nodes")))["items"]
    by_name = {n["metadata"]["name"]: project_node(n) for n in nodes}
    return {name: _fits(dra, raws, by_name[name], spec) for name, spec in specs.items()}


def _fits(dra: Dra, raws: dict[str, list[Manifest]], node: Any, spec: Manifest) -> bool:
    capacity = Capacity()
    capacity.set_node(node)
    known = Devices(capacity, Selectors(), lambda key, uid: None)
    for resource, read, take in (
        ("deviceclasses", read_class, known.set_class),
        ("resourceslices", read_slice, known.set_slice),
        ("resourceclaimtemplates", read_template, known.set_template),
        ("resourceclaims", read_claim, known.set_claim),
    ):
        for raw in raws[resource]:
            take(None, read(raw))  # type: ignore[operator]
    request = GangRequest("g", dra.lab.namespace, "g", 0, 0.0, 1, 1, shape_of(spec))
    found = resolved(request, capacity)
    assert not isinstance(found, Refusal), found
    return examine(capacity.nodes[node.name], found.worker, capacity.now.used(node.name))[0] > 0


async def _decisions(lab: Lab, expected: dict[str, bool]) -> dict[str, str]:
    """For each pod `bound`, or what the scheduler objects to; an objection where none was expected gets time."""
    started = time.monotonic()
    while True:
        patient = time.monotonic() < started + SECONDS / 2
        found = {p["metadata"]["name"]: _spoken(p) for p in await lab.list("pods")}
        if all(
            found.get(n) and (found[n] == "bound" or not fits or not patient) for n, fits in expected.items()
        ):
            return {n: found[n] for n in expected}
        assert time.monotonic() < started + SECONDS, f"the scheduler never looked at all of {found}"
        await asyncio.sleep(0.2)


def _spoken(pod: Manifest) -> str:
    """`bound`, an objection to what was asked, or nothing yet; that a claim is still to be made is no objection."""
    if pod["spec"].get("nodeName"):
        return "bound"
    facts = [c for c in pod["status"].get("conditions", ()) if c["type"] == "PodScheduled"]
    text = str(facts[0].get("message") or "") if facts else ""
    return text if "cannot allocate" in text or "device" in text else ""
