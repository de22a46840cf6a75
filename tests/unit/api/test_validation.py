"""The sense of a spec: a table of what is refused, by the field that is named."""

from typing import Any

import pytest

from drumline.api.catalog import Catalog
from drumline.api.shape import resolve_shape
from drumline.api.validation import MAX_PODS, validate_job
from tests.unit.api.specs import CPU, GPU, TPU, container, errors_of, paths_of, spec, template, with_env

LOADER = {"name": "loader", "template": template()}
GPU_LIMIT = {"limits": {"nvidia.com/gpu": "8"}}


def helper(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    return {**LOADER, "name": name, "dependsOn": [{"name": other} for other in depends_on], **fields}


VALID: list[dict[str, Any]] = [
    {},
    {"accelerator": TPU, "framework": "jax", "slices": 4},
    {"accelerator": TPU, "workersPerSlice": 16},
    {"accelerator": {"type": "tpu-v6e", "topology": "2x4", "chipsPerWorker": 8}, "workersPerSlice": 1},
    {"accelerator": {**GPU, "chipsPerWorker": 8}, "workersPerSlice": 4},
    {"accelerator": {"type": "nvidia-l4", "chipsPerWorker": 8}},
    {"accelerator": {**CPU, "chipsPerWorker": 0}},
    {"accelerator": GPU, "template": template(containers=[container(resources=GPU_LIMIT)])},
    {"accelerator": GPU, "template": template(hostNetwork=True, hostIPC=True, restartPolicy="Never")},
    {"helpers": [helper("loader"), helper("eval", "loader", "workers"), helper("late", "eval")]},
    {
        "framework": "torch",
        "template": with_env("XLA_FLAGS", "LIBTPU_INIT_ARGS", "PYTHONUNBUFFERED", "NCCL_DEBUG"),
    },
    {"framework": "jax", "template": with_env("MASTER_ADDR", "TPU_WORKER_ID")},  # neither is set for it
    {"framework": "none", "template": with_env("RANK", "JAX_PROCESS_ID")},
    {"scheduling": {"placement": {"policy": "Preferred", "level": "block"}}},
    {"managedBy": "kueue.x-k8s.io/multikueue"},
]


@pytest.mark.parametrize("fields", VALID, ids=str)
def test_valid(fields: dict[str, Any]) -> None:
    assert errors_of(**fields) == ()


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    # accelerators
    (
        {"accelerator": {"type": "h100"}},
        "spec.accelerator.type",
        "unknown accelerator 'h100'; allowed: cpu, ",
    ),
    (
        {"accelerator": {"type": "tpu-v5p"}},
        "spec.accelerator.topology",
        "required on tpu-v5p; allowed: 2x2x1, ",
    ),
    (
        {"accelerator": {"type": "tpu-v5p", "topology": "4x4x6"}},
        "spec.accelerator.topology",
        "impossible topology '4x4x6' of tpu-v5p; allowed: 2x2x1, 2x2x2, 2x2x4, 2x4x4, AxBxC with A ≤ B ≤ C",
    ),
    ({"accelerator": {**GPU, "topology": "2x2"}}, "spec.accelerator.topology", "only TPUs have one"),
    ({"accelerator": {**CPU, "topology": "2x2"}}, "spec.accelerator.topology", "given '2x2' on cpu"),
    (
        {"accelerator": {**TPU, "chipsPerWorker": 8}},
        "spec.accelerator.chipsPerWorker",
        "given 8; allowed: 4 for",
    ),
    (
        {"accelerator": {**TPU, "chipsPerWorker": 0}},
        "spec.accelerator.chipsPerWorker",
        "given 0; allowed: 4 for",
    ),
    ({"accelerator": {**GPU, "chipsPerWorker": 16}}, "spec.accelerator.chipsPerWorker", "allowed: 1 to 8"),
    ({"accelerator": {**GPU, "chipsPerWorker": 0}}, "spec.accelerator.chipsPerWorker", "allowed: 1 to 8"),
    (
        {"accelerator": {**CPU, "chipsPerWorker": 1}},
        "spec.accelerator.chipsPerWorker",
        "allowed: 0 or absent",
    ),
    ({"accelerator": TPU, "workersPerSlice": 8}, "spec.workersPerSlice", "given 8; allowed: 16 or absent"),
    ({"workersPerSlice": 0}, "spec.workersPerSlice", "given 0; allowed: at least 1"),
    ({"slices": 0}, "spec.slices", "given 0; allowed: at least 1"),
    ({"slices": 10000, "workersPerSlice": 6}, "spec.slices", f"60000 pods; allowed: at most {MAX_PODS}"),
    # templates
    ({"template": {}}, "spec.template.spec", "required"),
    ({"template": {"spec": {}}}, "spec.template.spec.containers", "required"),
    (
        {"template": template(containers=[])},
        "spec.template.spec.containers",
        "given 0 items; allowed: 1 to 16",
    ),
    (
        {"template": template(containers=[{"name": "a"}])},
        "spec.template.spec.containers[0].image",
        "required",
    ),
    ({"template": template(restartPolicy="Always")}, "spec.template.spec.restartPolicy", "allowed: Never"),
    ({"template": template(nodeName="n")}, "spec.template.spec.nodeName", "given 'n'; allowed: absent"),
    ({"template": template(hostname="h")}, "spec.template.spec.hostname", "allowed: absent"),
    ({"template": template(subdomain="s")}, "spec.template.spec.subdomain", "allowed: absent"),
    ({"template": template(schedulingGates=[])}, "spec.template.spec.schedulingGates", "allowed: absent"),
    # environment
    (
        {"framework": "torch", "template": with_env("OK", "PET_NNODES")},
        "spec.template.spec.containers[0].env[1].name",
        "given 'PET_NNODES', which the operator sets",
    ),
    (
        {"framework": "jax", "template": with_env("JAX_COORDINATOR_ADDRESS")},
        "spec.template.spec.containers[0].env[0].name",
        "which the operator sets",
    ),
    (
        {"accelerator": TPU, "template": with_env("TPU_WORKER_ID")},
        "spec.template.spec.containers[0].env[0].name",
        "which the operator sets",
    ),
    (
        {"template": template(initContainers=[container(env=[{"name": "DRUMLINE_RANK"}])])},
        "spec.template.spec.initContainers[0].env[0].name",
        "which the operator sets",
    ),
    (
        {"helpers": [helper("loader", template=with_env("DRUMLINE_JOB"))]},
        "spec.helpers[0].template.spec.containers[0].env[0].name",
        "which the operator sets",
    ),
    # counts of accelerators
    (
        {
            "accelerator": {**GPU, "chipsPerWorker": 4},
            "template": template(containers=[container(resources=GPU_LIMIT)]),
        },
        "spec.template.spec.containers[0].resources.limits[nvidia.com/gpu]",
        "given 8 in all; allowed: 4",
    ),
    (
        {"accelerator": GPU, "template": template(containers=[container(resources=GPU_LIMIT)] * 2)},
        "spec.template.spec.containers[0].resources.limits[nvidia.com/gpu]",
        "given 16 in all; allowed: 8",
    ),
    (
        {
            "accelerator": GPU,
            "template": template(containers=[container(resources={"limits": {"nvidia.com/gpu": "8k"}})]),
        },
        "spec.template.spec.containers[0].resources.limits[nvidia.com/gpu]",
        "given '8k'; allowed: a whole number",
    ),
    (
        {"helpers": [helper("loader", template=template(containers=[container(resources=GPU_LIMIT)]))]},
        "spec.helpers[0].template.spec.containers[0].resources.limits[nvidia.com/gpu]",
        "pods of this role have no accelerators",
    ),
    (
        {"template": template(containers=[container(resources=GPU_LIMIT)])},
        "spec.template.spec.containers[0].resources.limits[nvidia.com/gpu]",
        "given '8'; allowed: absent, as pods of this role have no accelerators",
    ),
    (
        {"accelerator": TPU, "template": template(initContainers=[container(resources=GPU_LIMIT)])},
        "spec.template.spec.initContainers[0].resources.limits[nvidia.com/gpu]",
        "have no nvidia.com/gpu",
    ),
    # helpers
    ({"helpers": [helper("workers")]}, "spec.helpers[0].name", "any name but spare, worker, workers"),
    ({"helpers": [helper("spare")]}, "spec.helpers[0].name", "any name but spare, worker, workers"),
    ({"spares": -1}, "spec.spares", "at least 0"),
    (
        {"spares": 1, "elastic": {"maxSlices": 2}},
        "spec.spares",
        "given 1 with spec.elastic; allowed: 0",
    ),
    ({"spares": 1001}, "spec.spares", "at most 1000"),
    ({"slices": 10000, "workersPerSlice": 5, "spares": 1}, "spec.slices", "given a gang of 50001 pods"),
    ({"helpers": [helper("worker")]}, "spec.helpers[0].name", "any name but spare, worker, workers"),
    ({"helpers": [helper("0")]}, "spec.helpers[0].name", "text that matches"),
    (
        {"helpers": [helper("a"), helper("a")]},
        "spec.helpers[1].name",
        "given 'a' twice; allowed: unique names",
    ),
    (
        {"helpers": [helper("a", "a")]},
        "spec.helpers[0].dependsOn[0].name",
        "the helper itself; allowed: workers",
    ),
    (
        {"helpers": [helper("a", "b")]},
        "spec.helpers[0].dependsOn[0].name",
        "which is no helper; allowed: workers",
    ),
    ({"helpers": [helper("a", "workers", "workers")]}, "spec.helpers[0].dependsOn[1].name", "each name once"),
    (
        {"helpers": [helper("x"), helper("a", "c"), helper("b", "a"), helper("c", "b")]},
        "spec.helpers[1].dependsOn",
        "given a circle",
    ),
    ({"helpers": [helper("a", template={})]}, "spec.helpers[0].template.spec", "required"),
    # policies
    (
        {"failurePolicy": {"backoff": {"initialSeconds": 20, "maxSeconds": 10}}},
        "spec.failurePolicy.backoff.initialSeconds",
        "given 20; allowed: at most maxSeconds, 10",
    ),
    (
        {"scheduling": {"placement": {"level": "block"}}},
        "spec.scheduling.placement.level",
        "given 'block' with policy Unconstrained",
    ),
    (
        {"scheduling": {"placement": {"policy": "Required"}}},
        "spec.scheduling.placement.level",
        "required with policy Required",
    ),
    ({"managedBy": "nobody"}, "spec.managedBy", "given 'nobody'; allowed: text that matches"),
]


@pytest.mark.parametrize(
    ("fields", "path", "words"), REFUSED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_refused(fields: dict[str, Any], path: str, words: str) -> None:
    messages = {error.path: error.message for error in errors_of(**fields)}
    assert path in messages, messages
    assert words in messages[path]


def test_all_faults_are_told_at_once() -> None:
    fields: dict[str, Any] = {
        "accelerator": {"type": "abacus"},
        "template": template(nodeName="n"),
        "helpers": [helper("workers")],
        "failurePolicy": {"backoff": {"initialSeconds": 20, "maxSeconds": 10}},
    }
    assert paths_of("Llama", **fields) == [
        "metadata.name",
        "spec.accelerator.type",
        "spec.failurePolicy.backoff.initialSeconds",
        "spec.template.spec.nodeName",
        "spec.helpers[0].name",
    ]


def test_nulls_are_absent() -> None:
    assert (
        errors_of(template=template(nodeName=None, restartPolicy=None, initContainers=None), queue=None) == ()
    )


def test_the_overridden_catalogue_counts() -> None:
    catalog = Catalog.default().merged({"abacus": {"kind": "gpu", "resource": "bead", "chipsPerHost": 2}})
    assert validate_job("a", spec(accelerator={"type": "abacus"}), catalog) == ()


@pytest.mark.parametrize(
    ("name", "fields", "most"),
    [
        ("a" * 53, {}, 53),
        ("a" * 52, {"slices": 11}, 52),
        ("a" * 50, {"slices": 101, "workersPerSlice": 11}, 50),
        ("a" * 52, {"accelerator": TPU}, 52),  # 16 workers a slice
        ("a" * 48, {"helpers": [helper("loader")]}, 48),
        ("a" * 46, {"helpers": [helper("loader", replicas=101)]}, 46),
        ("a" * 49, {"spares": 10}, 49),
        ("a" * 48, {"accelerator": TPU, "spares": 1}, 48),  # of 16 pods
    ],
)
def test_the_longest_name(name: str, fields: dict[str, Any], most: int) -> None:
    assert errors_of(name, **fields) == ()
    (error,) = errors_of(f"{name}a", **fields)
    assert error.path == "metadata.name"
    assert f"({most + 1} characters); allowed: at most {most} characters" in error.message


@pytest.mark.parametrize("name", ["", "A", "1a", "a.b", "a_b", "-a", "a-", "ä", "a\n"])
def test_a_name_that_is_no_service(name: str) -> None:
    assert paths_of(name) == ["metadata.name"]


@pytest.mark.parametrize(
    ("fields", "workers", "chips"),
    [
        (
            {
                "framework": "jax",
                "accelerator": TPU,
                "slices": 2,
                "queue": "research",
                "priorityClassName": "high",
                "scheduling": {
                    "gangTimeoutSeconds": 120,
                    "placement": {"policy": "Required", "level": "block"},
                },
                "activeDeadlineSeconds": 86400,
                "ttlSecondsAfterFinished": 3600,
                "failurePolicy": {"maxRestarts": 10, "backoff": {"initialSeconds": 10, "maxSeconds": 600}},
                "helpers": [helper("loader", replicas=4)],
            },
            32,
            128,
        ),
        (
            {
                "framework": "torch",
                "accelerator": {**GPU, "chipsPerWorker": 8},
                "workersPerSlice": 4,
                "processesPerWorker": 8,
            },
            4,
            32,
        ),
    ],
)
def test_whole_jobs(fields: dict[str, Any], workers: int, chips: int) -> None:
    job = spec(**fields)
    assert validate_job("llama", job, Catalog.default()) == ()
    shape = resolve_shape(job, Catalog.default())
    assert (shape.workers, shape.chips) == (workers, chips)


FULL_POD = {"type": "tpu-v5p", "topology": "16x20x28"}  # 2240 hosts


def _length_errors(name: str, **fields: Any) -> list[tuple[str, str]]:
    found = validate_job(name, spec(framework="jax", **fields), Catalog.default())
    return [(e.path, e.message) for e in found]


def test_a_host_list_that_no_program_can_be_started_with_is_refused_by_the_job_s_name() -> None:
    """Pods and their kernel would say only that the argument list is too long."""
    assert _length_errors("x" * 20, accelerator=FULL_POD) == []
    [(path, message)] = _length_errors("x" * 40, accelerator=FULL_POD)
    assert path == "metadata.name"
    assert "list of a slice's 2240 hosts has" in message
    allowed = int(message.split("at most ")[1].split()[0])
    assert 20 < allowed < 40
    assert _length_errors("x" * allowed, accelerator=FULL_POD) == []
    assert _length_errors("x" * (allowed + 1), accelerator=FULL_POD) != []


def test_where_no_name_is_short_enough_the_topology_is_named() -> None:
    lone_chips = Catalog.default().merged({"tpu-v5p": {"chipsPerHost": 1}})
    [error] = validate_job("x", spec(framework="jax", accelerator=FULL_POD), lone_chips)
    assert error.path == "spec.accelerator.topology"
    assert "fewer workers in a slice" in error.message


def test_a_variable_of_the_users_that_is_too_long_is_refused_by_its_place() -> None:
    env = [{"name": "A", "value": "x" * 131_069}, {"name": "B", "value": "x" * 131_070}]
    errors = _length_errors("job", template=template(containers=[container(env=env)]))
    assert errors[0][0] == "spec.template.spec.containers[0].env[1].value"
    assert "given 131072 bytes with its name; allowed: at most 131071" in errors[0][1]
    assert len(errors) == 1
