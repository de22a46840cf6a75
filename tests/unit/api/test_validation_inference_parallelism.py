"""What is refused of a role's mesh, by the field that is named, and what its engine could not be told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.catalog import Catalog
from drumline.api.inference_parallelism import ServiceParallelism, Size
from drumline.api.validation_inference import parse_service, validate_service
from tests.unit.api.inference_specs import role, template

CATALOG = Catalog.default()
PATH = "spec.roles[0].parallelism"
ARGS = "spec.roles[0].template.spec.containers[0].args"
H100 = {"type": "nvidia-h100-80gb"}
NVL = {"type": "nvidia-gb200"}
TPU = {"type": "tpu-v5p", "topology": "2x2x4"}
NEAR = {"scaleUp": "Preferred"}


def faults(engine: str = "custom", words: tuple[str, ...] = (), **fields: Any) -> list[tuple[str, str]]:
    """(field, message) of a service with one role."""
    made = role(template=template(args=list(words)) if words else template(), **fields)
    spec, errors = parse_service({"engine": engine, "model": {"name": "m"}, "roles": [made]})
    found = errors if spec is None else validate_service("chat", spec, CATALOG)
    return [(e.path, e.message) for e in found]


def mesh(pods: int, accelerator: dict[str, Any] = H100, **parallelism: Any) -> dict[str, Any]:
    """Fields of a role of `pods` hosts."""
    size = {} if "topology" in accelerator else {"groupSize": pods}
    return {"accelerator": accelerator, **size, "parallelism": parallelism}


@pytest.mark.parametrize(
    ("engine", "fields"),
    [
        ("vllm", mesh(1, tensor=8)),
        ("vllm", mesh(2, tensor=8, pipeline=2)),
        ("vllm", mesh(2, tensor=8)),
        ("vllm", mesh(2, expert=16, **NEAR)),
        ("vllm", mesh(2, tensor=4, data=4)),
        ("vllm", mesh(4, NVL, tensor=4, expert=16)),
        ("vllm", mesh(18, NVL, tensor=72)),
        ("sglang", mesh(2, NVL, tensor=8, expert=4)),
        ("sglang", mesh(4, NVL, tensor=2, data=8, expert=16)),
        ("sglang", mesh(1, tensor=4, data=2)),
        ("custom", mesh(4, NVL, tensor=2, pipeline=2, data=4, expert=2)),
        ("triton", mesh(1, tensor=4, data=2)),
        ("custom", mesh(4, TPU, tensor=16)),
    ],
    ids=str,
)
def test_meshes_that_fit_are_taken(engine: str, fields: dict[str, Any]) -> None:
    assert faults(engine, **fields) == []


@pytest.mark.parametrize(
    ("engine", "fields", "path", "text"),
    [
        ("vllm", mesh(2, tensor=8, pipeline=4), PATH, "= 32; allowed: a divisor of the group's 16 chips, data"),
        ("vllm", mesh(2, tensor=8, data=1), PATH, "axes whose product is the group's 16 chips, or no data"),
        ("vllm", mesh(2, tensor=16), f"{PATH}.tensor", "given 16; allowed: at most 8, the chips of a scale-up domain"),
        ("vllm", mesh(2, expert=16), f"{PATH}.expert", "of nvidia-h100-80gb, or scaleUp: Preferred"),
        ("custom", mesh(3, NVL, tensor=6), f"{PATH}.tensor", "a divisor or a multiple of a pod's 4 chips"),
        ("custom", mesh(1, tensor=4, expert=3), f"{PATH}.expert", "a divisor of tensor, 4, or a multiple of it"),
        ("custom", mesh(1, tensor=2, pipeline=2, expert=4), f"{PATH}.expert", "allowed: a divisor of tensor, 2"),
        ("vllm", mesh(1, tensor=4, expert=2, data=2), f"{PATH}.expert", "with engine vllm: 1, or 8 = tensor × data"),
        ("sglang", mesh(2, tensor=8, data=2), f"{PATH}.data", "in groups of 2 pods; allowed with engine sglang: 1"),
        ("custom", mesh(1, {"type": "cpu"}), PATH, "given on cpu; allowed: absent, as its pods have no chips"),
        (
            "custom",
            {**mesh(1, tensor=8), "variants": [{"accelerator": NVL}]},
            PATH,
            "given tensor 8 = 8; allowed: a divisor of the group's 4 chips with variants[0]",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_meshes_that_do_not_fit_are_refused_by_name(
    engine: str, fields: dict[str, Any], path: str, text: str
) -> None:
    [(found, message)] = faults(engine, **fields)
    assert found == path
    assert text in message


@pytest.mark.parametrize(
    ("engine", "words", "parallelism", "given", "allowed"),
    [
        ("vllm", ("m", "-tp", "4"), {"tensor": 8}, "given -tp=4", "absent or 8"),
        ("vllm", ("m", "--pipeline_parallel_size=2"), {"tensor": 8}, "--pipeline-parallel-size=2", "absent or 1"),
        ("vllm", ("m", "--enable-expert-parallel"), {"tensor": 8}, "--enable-expert-parallel", "contrary"),
        ("vllm", ("m", "--no-enable-expert-parallel"), {"tensor": 8, "expert": 8}, "--no-", "--enable-expert-parallel"),
        ("sglang", ("sglang", "--tp", "2"), {"tensor": 2, "data": 4, "expert": 8}, "given --tp=2", "absent or 8"),
    ],
)  # fmt: skip
def test_an_argument_that_says_something_else_is_refused(
    engine: str, words: tuple[str, ...], parallelism: dict[str, Any], given: str, allowed: str
) -> None:
    [(path, message)] = faults(engine, words, accelerator=H100, parallelism=parallelism)
    assert path == ARGS
    assert given in message
    assert f"allowed: {allowed}" in message or allowed in message
    assert message.endswith(f"by {PATH}")


@pytest.mark.parametrize(
    "words",
    [
        ("m", "-tp", "8"),
        ("m", "--tensor-parallel-size=8", "--enable-expert-parallel"),
        ("m", "--tensor-parallel-size=$(TP)"),
        ("wrapper", "-tp", "8"),
    ],
)
def test_an_argument_that_says_the_same_or_what_nobody_can_read_is_taken(words: tuple[str, ...]) -> None:
    assert faults("vllm", words, accelerator=H100, parallelism={"tensor": 8, "expert": 8}) == []


@given(
    pods=st.sampled_from([1, 2, 4]),
    tensor=st.sampled_from([1, 2, 4, 8]),
    pipeline=st.sampled_from([1, 2, 4]),
    expert=st.sampled_from([1, 2, 4, 8, 16]),
)
@settings(max_examples=60, deadline=None)
def test_a_mesh_that_is_taken_uses_each_chip_once(pods: int, tensor: int, pipeline: int, expert: int) -> None:
    fields = mesh(pods, NVL, tensor=tensor, pipeline=pipeline, expert=expert)
    if faults(**fields):
        return
    chips = 4 * pods
    found = ServiceParallelism(**fields["parallelism"])
    sizes = found.sizes(chips)
    assert sizes[Size.TENSOR] * sizes[Size.PIPELINE] * sizes[Size.DATA] == chips
    inside = sizes[Size.STAGE] * (1 if found.wide else sizes[Size.DATA])
    assert inside * sizes[Size.PIPELINE] == chips
    assert chips % found.group == 0
