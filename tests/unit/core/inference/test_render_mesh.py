"""What a role's `parallelism` becomes: arguments, variables, and groups of pods that admission keeps together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.api.inference_status import GroupStatus
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement import place
from drumline.core.gang.types import GangRequest, Node, Refusal
from drumline.core.inference.observation import Settings
from drumline.core.inference.render import group_request
from tests.unit.core.inference import services
from tests.unit.core.inference.rendered import H100, MODEL, REVISION, SERVICE, args, env, role, spec, template

NVL = {"type": "nvidia-gb200"}  # 4 chips a host, 72 share a link
SUBBLOCK = "cloud.google.com/gce-topology-subblock"


def words(
    engine: str, pods: int, accelerator: dict[str, Any], own: tuple[str, ...] = (), **mesh: Any
) -> list[str]:
    """What a pod's engine is told of its mesh."""
    made = role(accelerator=accelerator, groupSize=pods, parallelism=mesh, template=template(args=list(own)))
    found = args(spec(made, engine=engine, model=MODEL))
    told = ("parallel", "-size=", "--enable-dp", "-tp", "-pp")
    return [word for word in found if any(part in word for part in told)]


def request(pods: int, accelerator: dict[str, Any] = NVL, **mesh: Any) -> GangRequest:
    made = role(accelerator=accelerator, groupSize=pods, **({"parallelism": mesh} if mesh else {}))
    group = GroupStatus(id=3, revision=REVISION)
    parsed = services.parsed(spec(made))
    return group_request(
        SERVICE, parsed, "serve", group, services.CATALOG, queued_at=5.0, settings=Settings()
    )


@pytest.mark.parametrize(
    ("engine", "pods", "mesh", "told"),
    [
        ("vllm", 1, {"tensor": 8}, ["--tensor-parallel-size=8"]),
        ("vllm", 2, {"tensor": 8, "pipeline": 2}, ["--tensor-parallel-size=8", "--pipeline-parallel-size=2"]),
        ("vllm", 2, {"tensor": 16}, ["--tensor-parallel-size=16"]),
        ("vllm", 2, {"expert": 16}, ["--data-parallel-size=16", "--enable-expert-parallel"]),
        ("sglang", 2, {"tensor": 8, "pipeline": 2}, ["--tp-size=8", "--pp-size=2"]),
        ("sglang", 1, {"tensor": 4}, ["--tp-size=4", "--dp-size=2"]),
        (
            "sglang",
            2,
            {"tensor": 2, "expert": 16},
            ["--tp-size=16", "--dp-size=8", "--enable-dp-attention", "--ep-size=16"],
        ),
    ],
)
def test_the_engine_is_told_of_its_mesh(
    engine: str, pods: int, mesh: dict[str, Any], told: list[str]
) -> None:
    assert words(engine, pods, H100, scaleUp="Preferred", **mesh) == told


def test_nothing_is_said_twice() -> None:
    own = ("m", "-tp", "8")
    assert words("vllm", 2, H100, own, tensor=8, pipeline=2) == ["-tp", "--pipeline-parallel-size=2"]


def test_pods_of_a_mesh_still_find_each_other() -> None:
    made = role(accelerator=H100, groupSize=2, parallelism={"tensor": 8})
    found = args(spec(made, engine="vllm", model=MODEL), worker=1)
    assert {"--nnodes=2", "--headless", "--data-parallel-size=2"} <= set(found)


def test_a_wrapper_finds_the_mesh_in_variables() -> None:
    made = role(accelerator=H100, groupSize=2, parallelism={"tensor": 4, "pipeline": 2, "expert": 4})
    found = env(spec(made))
    axes = ("TENSOR", "PIPELINE", "DATA", "EXPERT")
    assert [found[f"DRUMLINE_{axis}_PARALLEL"] for axis in axes] == ["4", "2", "2", "4"]
    assert not [name for name in env(spec(role())) if name.endswith("_PARALLEL")]


@pytest.mark.parametrize(
    ("accelerator", "pods", "mesh", "group"),
    [
        (NVL, 4, {}, (1, "", True)),
        (NVL, 4, {"tensor": 4}, (1, "", True)),
        (NVL, 4, {"tensor": 8}, (2, "", True)),
        (NVL, 4, {"tensor": 2, "expert": 16}, (4, "", True)),
        (H100, 2, {"tensor": 16, "scaleUp": "Preferred"}, (2, "host", False)),
        ({**H100, "chipsPerWorker": 2}, 4, {"tensor": 8}, (4, "host", True)),
    ],
)
def test_groups_of_several_pods_stay_in_a_scale_up_domain(
    accelerator: dict[str, Any], pods: int, mesh: dict[str, Any], group: tuple[int, str, bool]
) -> None:
    found = request(pods, accelerator, **mesh)
    assert (found.group_workers, found.group_level, found.group_required) == group


def racks(*hosts: int) -> Capacity:
    """Racks of so many GB200 hosts that share a link."""
    capacity = Capacity()
    for rack, count in enumerate(hosts):
        for host in range(count):
            labels = {SUBBLOCK: f"rack-{rack}", **services.CATALOG["nvidia-gb200"].node_labels}
            offered = {"nvidia.com/gpu": 4, "pods": 110, "cpu": 64_000, "memory": 2**38}
            capacity.set_node(
                Node(f"n-{rack}-{host}", f"u-{rack}-{host}", labels=labels, allocatable=offered)
            )
    return capacity


def test_a_rack_that_is_too_small_by_one_is_not_helped_out_by_another() -> None:
    found = place(request(4, tensor=16), racks(3, 3))
    assert isinstance(found, Refusal)
    assert found.reason == "TopologyUnsatisfiable"
    assert (
        "needs 1 group of 16 × nvidia-gb200, each in one subblock; of the 24 free there are 0"
        in found.message
    )


@given(
    racks_of=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    pods=st.sampled_from([2, 4]),
    width=st.sampled_from([1, 2, 4]),
    strict=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_a_group_is_where_its_mesh_can_be(racks_of: list[int], pods: int, width: int, strict: bool) -> None:
    """Exactly if racks hold all parts whole; where that is only a wish, whenever there is room at all."""
    width = min(width, pods)
    scale = "Required" if strict else "Preferred"
    found = place(request(pods, tensor=4 * width, scaleUp=scale), racks(*racks_of))
    whole = sum(count // width for count in racks_of) * width >= pods
    assert isinstance(found, Refusal) == (not (whole if strict else sum(racks_of) >= pods))
    if whole and not isinstance(found, Refusal):
        where = [node.rsplit("-", 1)[0] for node in found.nodes]
        assert all(len(set(where[i : i + width])) == 1 for i in range(0, pods, width))
