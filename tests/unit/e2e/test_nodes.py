"""Descriptions of fake nodes: what they mean, and what is said about those that mean nothing."""

import io
from collections import Counter
from typing import Any

import pytest
import yaml

from e2e.cluster import nodes
from e2e.cluster.nodes import DescriptionError, describe

POOL = "cloud.google.com/gke-nodepool"
BLOCK = "cloud.google.com/gce-topology-block"
SUBBLOCK = "cloud.google.com/gce-topology-subblock"
HOST = "cloud.google.com/gce-topology-host"


def labels(node: dict[str, Any], key: str) -> str | None:
    found: dict[str, str] = node["metadata"]["labels"]
    return found.get(key)


def count(manifests: list[dict[str, Any]], key: str) -> list[int]:
    return list(Counter(labels(node, key) for node in manifests).values())


@pytest.mark.parametrize(
    ("description", "hosts"),
    [
        ("32 hosts of h100 in blocks of 8", 32),
        ("four hosts of cpu", 4),
        ("1 host of nvidia-h200-141gb", 1),
        ("  A   Host of   L4 ", 1),
        ("twenty hosts of b200 in blocks of ten and subblocks of five", 20),
        ("two v5p 4x4x4 slices", 32),
        ("3 v6e 4x4 slices", 12),
        ("one tpu-v5e 16x16 slice", 64),
        ("2 v5e 1x1 slices", 2),
        ("2 v5e 2x4 slices", 2),
        ("a v4 2x2x2 slice", 2),
        ("a tpu7x 4x4x8 slice", 32),
        ("a tpu7x 1x1x1 slice", 1),
        ("a v5p 16x16x24 slice", 1536),
    ],
)
def test_number_of_hosts(description: str, hosts: int) -> None:
    manifests = describe(description)
    assert len(manifests) == hosts
    assert len({node["metadata"]["name"] for node in manifests}) == hosts


def test_blocks_and_subblocks_have_the_sizes_asked_for() -> None:
    manifests = describe("32 hosts of h100 in blocks of 8 and subblocks of 2")
    assert count(manifests, POOL) == [32]
    assert count(manifests, BLOCK) == [8] * 4
    assert count(manifests, SUBBLOCK) == [2] * 16
    assert count(manifests, HOST) == [1] * 32


def test_a_subblock_lies_in_one_block() -> None:
    manifests = describe("20 hosts of h200 in blocks of 6 and subblocks of 4")
    assert count(manifests, BLOCK) == [6, 6, 6, 2]
    assert count(manifests, SUBBLOCK) == [4, 2, 4, 2, 4, 2, 2]
    by_subblock = {(labels(node, SUBBLOCK), labels(node, BLOCK)) for node in manifests}
    assert len(by_subblock) == 7


def test_gb200_shares_nvlink_by_18_hosts() -> None:
    manifests = describe("36 hosts of gb200")
    assert count(manifests, BLOCK) == [36]
    assert count(manifests, SUBBLOCK) == [18, 18]
    assert count(describe("8 hosts of gb200 in blocks of 18"), BLOCK) == [8]


def test_a_multi_host_slice_is_a_pool_of_its_own() -> None:
    manifests = describe("two v5p 4x4x4 slices")
    assert count(manifests, POOL) == [16, 16]
    assert {labels(node, "cloud.google.com/gke-tpu-topology") for node in manifests} == {"4x4x4"}


def test_single_host_slices_share_a_pool() -> None:
    assert count(describe("3 v6e 2x2 slices"), POOL) == [3]


def test_descriptions_of_the_same_kind_do_not_collide() -> None:
    manifests = describe("2 hosts of h100", "3 hosts of h100", "a v5p 2x2x2 slice", "a v5p 2x2x2 slice")
    assert len({node["metadata"]["name"] for node in manifests}) == 9
    assert count(manifests, POOL) == [2, 3, 2, 2]


def test_a_prefix_begins_every_name_and_moves_the_addresses() -> None:
    plain, ours = describe("2 hosts of h100")[0], describe("2 hosts of h100", prefix="t1-")[0]
    assert ours["metadata"]["name"] == "t1-h100-0000"
    assert labels(ours, POOL) == "t1-h100"
    assert ours["spec"]["podCIDR"] != plain["spec"]["podCIDR"]


def test_thousands_of_nodes_have_addresses_of_their_own() -> None:
    manifests = describe("5000 hosts of cpu")
    assert len({node["spec"]["podCIDR"] for node in manifests}) == 5000
    assert len({node["status"]["addresses"][0]["address"] for node in manifests}) == 5000


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("some nodes", "allowed: 'N hosts of KIND'"),
        ("2 hosts of h300", "GPUs: l4, a100, a100-80gb, h100, h100-mega, h200, b200, gb200"),
        ("2 hosts of h300", "TPUs: v4, v5e, v5p, v6e, tpu7x"),
        ("many hosts of h100", "'many' is no number"),
        ("0 hosts of h100", "'0' is no number"),
        ("2 hosts of v5p", "write 'N v5p TOPOLOGY slices'"),
        ("2 h100 2x2 slices", "write 'N hosts of h100'"),
        ("2 v6e 3x3 slices", "allowed: 1x1, 2x2, 2x4, 4x4, 4x8, 8x8, 8x16, 16x16"),
        ("2 v5p 4x4 slices", "v5p has no topology 4x4"),
        ("2 v5p 8x4x4 slices", "A<=B<=C"),
        ("2 v4 16x16x20 slices", "up to 64 cubes"),
        ("2 hosts of a100 in blocks of 2", "does not label the place of a100 hosts"),
    ],
)
def test_an_error_says_what_is_allowed(description: str, said: str) -> None:
    with pytest.raises(DescriptionError) as error:
        describe(description)
    assert said in str(error.value)
    assert description in str(error.value)


def test_the_command_prints_what_describe_returns(capsys: pytest.CaptureFixture[str]) -> None:
    assert nodes.main(["2 hosts of h100", "a v6e 4x4 slice"]) == 0
    printed = list(yaml.safe_load_all(io.StringIO(capsys.readouterr().out)))
    assert printed == describe("2 hosts of h100", "a v6e 4x4 slice")


def test_the_command_fails_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert nodes.main(["2 hosts of nothing"]) == 2
    assert "unknown kind 'nothing'" in capsys.readouterr().err
