"""Groups of tensor parallelism on hosts that share a link: inside one such domain, or nowhere."""

from __future__ import annotations

import pytest

from tests.integration.inference.services import Services, groups
from tests.integration.operator.lab import POOL, Manifest, node_of

pytestmark = pytest.mark.cluster

SUBBLOCK = "cloud.google.com/gce-topology-subblock"


def wide(services: Services, pods: int, **mesh: object) -> Manifest:
    """A role of whole GB200 hosts of this test's own."""
    made = services.role(accelerator={"type": "nvidia-gb200"}, groupSize=pods, parallelism=mesh)
    pod = made["template"]["spec"]
    pod["nodeSelector"] = {POOL: f"{services.lab.prefix}gb200"}
    pod["tolerations"] = [{"operator": "Exists"}]
    return made


async def domains(services: Services, name: str) -> list[str]:
    """The scale-up domain of each pod's node."""
    found = []
    for pod in await services.pods(name):
        node = await services.lab.client.request("GET", f"/api/v1/nodes/{node_of(pod)}")
        found.append(node["metadata"]["labels"][SUBBLOCK])
    return found


async def test_a_group_waits_for_one_domain_that_holds_it_unless_it_may_do_without(
    services: Services,
) -> None:
    await services.lab.nodes("6 hosts of gb200 in blocks of 6 and subblocks of 3")
    await services.apply(services.service("large", wide(services, 4, tensor=16)))
    found = await services.until("large", lambda s: any(g.get("message") for g in groups(s)), "no refusal")
    (group,) = groups(found)
    text = "needs 1 group of 16 × nvidia-gb200, each in one subblock; of the 24 free there are 0"
    assert group["message"].startswith(f"TopologyUnsatisfiable: {text}")
    assert await services.pods("large") == []

    await services.apply(services.service("fits", wide(services, 3, tensor=12)))
    await services.ready("fits")
    assert len(set(await domains(services, "fits"))) == 1

    await services.lab.delete("inferenceservices", "fits")
    await services.until_no_pods("fits")
    revision = found["status"]["updateRevision"]
    await services.patch(
        "large", {"op": "replace", "path": "/spec/roles/0/parallelism/scaleUp", "value": "Preferred"}
    )
    found = await services.ready("large")
    assert len(set(await domains(services, "large"))) == 2
    assert found["status"]["updateRevision"] == revision
