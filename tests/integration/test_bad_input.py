"""Bad input by name: what a newcomer gets wrong, and who refuses it.

What the CRD can refuse, a real API server refuses here. What it can't (the catalogue may be overridden; a
template is a whole pod) it lets through, and `validate_job` refuses. Both name the field.
"""

from __future__ import annotations

from typing import Any

import pytest

from e2e.cluster.provider import Cluster
from tests.integration.admission import admission, install, manifest
from tests.unit.api.specs import CPU, GPU, TPU, container, judge, raw_spec, template, with_env

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", autouse=True)
def _crd(cluster: Cluster) -> None:
    install(cluster)


def helper(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "template": template(), "dependsOn": [{"name": n} for n in depends_on], **fields}


# name, fields, what the API server's message contains, the path that validate_job names
AT_ADMISSION: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "name too long": ("a" * 54, {}, "metadata.name", "metadata.name"),
    "name too long for its workers": ("a" * 53, {"workersPerSlice": 11}, "metadata.name", "metadata.name"),
    "name too long for its slices": ("a" * 52, {"slices": 101}, "metadata.name", "metadata.name"),
    "name too long for a helper": (
        "a" * 49,
        {"helpers": [helper("loader")]},
        "metadata.name",
        "metadata.name",
    ),
    "name too long for its spares": ("a" * 49, {"spares": 11}, "metadata.name", "metadata.name"),
    "a helper called spare": (
        "a",
        {"helpers": [helper("spare")]},
        "spec.helpers",
        "spec.helpers[0].name",
    ),
    "spares of an elastic job": (
        "a",
        {"spares": 1, "elastic": {"maxSlices": 2}},
        "spec.spares",
        "spec.spares",
    ),
    "spares with another scheduler": (
        "a",
        {"spares": 1, "scheduling": {"backend": "native"}},
        "spec.scheduling",
        "spec.spares",
    ),
    "no such backend": (
        "a",
        {"scheduling": {"backend": "slurm"}},
        "spec.scheduling.backend",
        "spec.scheduling.backend",
    ),
    "a request for nodes of no class": (
        "a",
        {"scheduling": {"provisioning": {"mode": "ProvisioningRequest"}}},
        "scheduling.provisioning.className is required with mode ProvisioningRequest",
        "spec.scheduling.provisioning.className",
    ),
    "a class and no request for nodes": (
        "a",
        {"scheduling": {"provisioning": {"mode": "Unpinned", "className": "a.example.com"}}},
        "not allowed with another",
        "spec.scheduling.provisioning.className",
    ),
    "parameters of no request for nodes": (
        "a",
        {"scheduling": {"provisioning": {"parameters": {"a": "b"}}}},
        "scheduling.provisioning.parameters needs mode ProvisioningRequest",
        "spec.scheduling.provisioning.parameters",
    ),
    "resources of no request for nodes": (
        "a",
        {"scheduling": {"provisioning": {"managedResources": ["nvidia.com/gpu"]}}},
        "scheduling.provisioning.managedResources needs mode ProvisioningRequest",
        "spec.scheduling.provisioning.managedResources",
    ),
    "a request for nodes that another scheduler binds": (
        "a",
        {
            "scheduling": {
                "backend": "kai",
                "provisioning": {"mode": "ProvisioningRequest", "className": "a.example.com"},
            }
        },
        "scheduling.provisioning needs scheduling.backend builtin",
        "spec.scheduling.provisioning",
    ),
    "a mesh without chips": ("a", {"parallelism": {}}, "spec.parallelism", "spec.parallelism"),
    "data of an elastic mesh": (
        "a",
        {"accelerator": GPU, "elastic": {"maxSlices": 2}, "parallelism": {"data": 8}},
        "spec.parallelism",
        "spec.parallelism.data",
    ),
    "too many spares": ("a", {"spares": 1001}, "spec.spares", "spec.spares"),
    "name of no Service": ("1llama", {}, "metadata.name", "metadata.name"),
    "name with a dot": ("my.llama", {}, "metadata.name", "metadata.name"),
    "zero workers": ("a", {"workersPerSlice": 0}, "spec.workersPerSlice", "spec.workersPerSlice"),
    "zero slices": ("a", {"slices": 0}, "spec.slices", "spec.slices"),
    "too many workers": ("a", {"slices": 10000, "workersPerSlice": 10}, "spec.slices", "spec.slices"),
    "no containers": (
        "a",
        {"template": template(containers=[])},
        "spec.template.spec.containers",
        "spec.template.spec.containers",
    ),
    "no pod spec": ("a", {"template": {}}, "spec.template.spec", "spec.template.spec"),
    "container without image": (
        "a",
        {"template": template(containers=[{"name": "train"}])},
        "spec.template.spec.containers[0].image",
        "spec.template.spec.containers[0].image",
    ),
    "pods that restart": (
        "a",
        {"template": template(restartPolicy="OnFailure")},
        "spec.template.spec.restartPolicy",
        "spec.template.spec.restartPolicy",
    ),
    "a node by name": (
        "a",
        {"template": template(nodeName="n1")},
        "spec.template.spec.nodeName",
        "spec.template.spec.nodeName",
    ),
    "scheduling gates": (
        "a",
        {"template": template(schedulingGates=[{"name": "g"}])},
        "spec.template.spec.schedulingGates",
        "spec.template.spec.schedulingGates",
    ),
    "TPU without topology": (
        "a",
        {"accelerator": {"type": "tpu-v5p"}},
        "spec.accelerator.topology",
        "spec.accelerator.topology",
    ),
    "topology on GPU": (
        "a",
        {"accelerator": {**GPU, "topology": "4x4"}},
        "spec.accelerator.topology",
        "spec.accelerator.topology",
    ),
    "topology that is none": (
        "a",
        {"accelerator": {"type": "tpu-v5p", "topology": "big"}},
        "spec.accelerator.topology",
        "spec.accelerator.topology",
    ),
    "chips on CPU": (
        "a",
        {"accelerator": {**CPU, "chipsPerWorker": 2}},
        "spec.accelerator.chipsPerWorker",
        "spec.accelerator.chipsPerWorker",
    ),
    "environment of torch": (
        "a",
        {"framework": "torch", "template": with_env("MASTER_ADDR")},
        "spec.template.spec.containers",
        "spec.template.spec.containers[0].env[0].name",
    ),
    "environment of jax": (
        "a",
        {"framework": "jax", "template": with_env("JAX_PROCESS_ID")},
        "spec.template.spec.containers",
        "spec.template.spec.containers[0].env[0].name",
    ),
    "environment of TPU in an init container": (
        "a",
        {"accelerator": TPU, "template": template(initContainers=[container(env=[{"name": "TPU_NAME"}])])},
        "spec.template.spec.initContainers",
        "spec.template.spec.initContainers[0].env[0].name",
    ),
    "environment of our own": (
        "a",
        {"template": with_env("A", "DRUMLINE_RANK")},
        "spec.template.spec.containers[0].env",
        "spec.template.spec.containers[0].env[1].name",
    ),
    "environment of our own in a helper": (
        "a",
        {"helpers": [helper("loader", template=with_env("DRUMLINE_RANK"))]},
        "spec.helpers[0].template.spec.containers[0].env",
        "spec.helpers[0].template.spec.containers[0].env[0].name",
    ),
    "helper named as the workers": (
        "a",
        {"helpers": [helper("workers")]},
        "spec.helpers",
        "spec.helpers[0].name",
    ),
    "helper named by a number": (
        "a",
        {"helpers": [helper("0")]},
        "spec.helpers[0].name",
        "spec.helpers[0].name",
    ),
    "helper twice": (
        "a",
        {"helpers": [helper("x"), helper("x")]},
        "spec.helpers[1]",
        "spec.helpers[1].name",
    ),
    "helper that waits for nobody": (
        "a",
        {"helpers": [helper("x", "ghost")]},
        "spec.helpers",
        "spec.helpers[0].dependsOn[0].name",
    ),
    "helper that waits for itself": (
        "a",
        {"helpers": [helper("x", "x")]},
        "spec.helpers",
        "spec.helpers[0].dependsOn[0].name",
    ),
    "backoff upside down": (
        "a",
        {"failurePolicy": {"backoff": {"initialSeconds": 9, "maxSeconds": 1}}},
        "spec.failurePolicy.backoff.initialSeconds",
        "spec.failurePolicy.backoff.initialSeconds",
    ),
    "placement without level": (
        "a",
        {"scheduling": {"placement": {"policy": "Required"}}},
        "spec.scheduling.placement",
        "spec.scheduling.placement.level",
    ),
    "level without policy": (
        "a",
        {"scheduling": {"placement": {"level": "block"}}},
        "spec.scheduling.placement",
        "spec.scheduling.placement.level",
    ),
    "scraping without a port": (
        "a",
        {"progress": {"source": "scrape"}},
        "spec.progress.scrape",
        "spec.progress.scrape",
    ),
    "a port that is not scraped": (
        "a",
        {"progress": {"source": "log", "scrape": {"port": 9090, "step": "s"}}},
        "spec.progress.scrape",
        "spec.progress.scrape",
    ),
    "pattern without a step": (
        "a",
        {"progress": {"pattern": "step=(?P<steps>.*)"}},
        "spec.progress.pattern",
        "spec.progress.pattern",
    ),
    "commit pattern without a step": (
        "a",
        {"progress": {"commitPattern": "saved"}},
        "spec.progress.commitPattern",
        "spec.progress.commitPattern",
    ),
    "more active parameters than there are": (
        "a",
        {"model": {"parameters": 1e9, "activeParameters": 2e9}},
        "spec.model.activeParameters",
        "spec.model.activeParameters",
    ),
    "attention without its heads": (
        "a",
        {"model": {"parameters": 1e9, "layers": 2, "headDim": 64, "sequenceLength": 128}},
        "spec.model",
        "spec.model.heads",
    ),
}

BY_THE_OPERATOR: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown accelerator": ("a", {"accelerator": {"type": "h100"}}, "spec.accelerator.type"),
    "impossible topology": (
        "a",
        {"accelerator": {"type": "tpu-v5p", "topology": "4x4x5"}},
        "spec.accelerator.topology",
    ),
    "more chips than a host has": (
        "a",
        {"accelerator": {**GPU, "chipsPerWorker": 9}},
        "spec.accelerator.chipsPerWorker",
    ),
    "workers against the topology": ("a", {"accelerator": TPU, "workersPerSlice": 8}, "spec.workersPerSlice"),
    "name too long for the topology": ("a" * 53, {"accelerator": TPU}, "metadata.name"),
    "helpers in a circle": (
        "a",
        {"helpers": [helper("x", "y"), helper("y", "x")]},
        "spec.helpers[0].dependsOn",
    ),
    "a pattern that is none": ("a", {"progress": {"pattern": "((?P<step>.*)"}}, "spec.progress.pattern"),
    "a pattern with groups of its own": (
        "a",
        {"progress": {"pattern": "(?P<step>.*) (?P<speed>.*)"}},
        "spec.progress.pattern",
    ),
    "a volume where the operator's goes": (
        "a",
        {"template": template(volumes=[{"name": "drumline", "emptyDir": {}}])},
        "spec.template.spec.volumes[0].name",
    ),
    "another count of accelerators": (
        "a",
        {
            "accelerator": GPU,
            "template": template(containers=[container(resources={"limits": {"nvidia.com/gpu": "4"}})]),
        },
        "spec.template.spec.containers[0].resources.limits[nvidia.com/gpu]",
    ),
}


@pytest.mark.parametrize("case", AT_ADMISSION)
async def test_refused_at_admission(cluster: Cluster, namespace: str, case: str) -> None:
    name, fields, words, path = AT_ADMISSION[case]
    async with admission(cluster, namespace) as api:
        answer = await api.ask(manifest(raw_spec(**fields), name))
    assert answer.code == 422, answer.body
    assert words in answer.message
    assert path in [error.path for error in judge(raw_spec(**fields), name)]


@pytest.mark.parametrize("case", BY_THE_OPERATOR)
async def test_refused_by_the_operator(cluster: Cluster, namespace: str, case: str) -> None:
    name, fields, path = BY_THE_OPERATOR[case]
    async with admission(cluster, namespace) as api:
        answer = await api.ask(manifest(raw_spec(**fields), name))
    assert answer.accepted, answer.message
    assert path in [error.path for error in judge(answer.body["spec"], name)]


async def test_the_longest_names_are_taken(cluster: Cluster, namespace: str) -> None:
    jobs = [
        ("a" * 53, {}),
        ("a" * 52, {"workersPerSlice": 11}),
        ("a" * 51, {"slices": 101}),
        ("a" * 48, {"helpers": [helper("loader")]}),
    ]
    async with admission(cluster, namespace) as api:
        answers = await api.ask_all(manifest(raw_spec(**fields), name) for name, fields in jobs)
    assert [answer.message for answer in answers if not answer.accepted] == []
    assert [judge(raw_spec(**fields), name) for name, fields in jobs] == [()] * len(jobs)


async def test_generated_names_are_judged_too(cluster: Cluster, namespace: str) -> None:
    document = manifest(raw_spec())
    document["metadata"] = {"generateName": "a" * 50 + "-"}
    async with admission(cluster, namespace) as api:
        answer = await api.ask(document)
    assert answer.code == 422
    assert "metadata.name" in answer.message
