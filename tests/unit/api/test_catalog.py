"""The catalogue: its figures, hosts of topologies, overrides and how they are refused."""

from importlib import resources
from typing import Any

import pytest

from drumline.api.catalog import AcceleratorType, Catalog, CatalogError, VendorKind

DEFAULT = Catalog.default()


def test_every_type_is_there() -> None:
    assert sorted(DEFAULT) == [
        "cpu",
        "nvidia-a100-40gb",
        "nvidia-a100-80gb",
        "nvidia-b200",
        "nvidia-gb200",
        "nvidia-h100-80gb",
        "nvidia-h100-mega-80gb",
        "nvidia-h200-141gb",
        "nvidia-l4",
        "tpu-v4",
        "tpu-v5e",
        "tpu-v5p",
        "tpu-v6e",
        "tpu7x",
    ]


def test_the_data_lies_in_the_package() -> None:
    assert resources.files("drumline.api").joinpath("catalog.toml").is_file()


@pytest.mark.parametrize("key", sorted(set(DEFAULT) - {"cpu"}))
def test_figures_are_whole(key: str) -> None:
    entry = DEFAULT[key]
    assert entry.peak_flops["bf16"] >= 1e14
    assert all(flops >= entry.peak_flops["bf16"] for flops in entry.peak_flops.values())
    assert entry.hbm_bytes is not None
    assert entry.hbm_bytes >= 16 * 10**9
    assert entry.hbm_bytes_per_second is not None
    assert entry.resource == ("google.com/tpu" if entry.is_tpu else "nvidia.com/gpu")
    assert entry.node_labels


@pytest.mark.parametrize(
    ("key", "flops", "gigabytes", "watts", "price"),
    [
        ("nvidia-h100-80gb", 989e12, 80, 700, 10.98),
        ("nvidia-gb200", 2500e12, 186, 1200, 4.54),
        ("nvidia-l4", 121e12, 24, 72, 0.56),
        ("tpu-v5p", 459e12, 95, None, 4.20),
        ("tpu7x", 2307e12, 192, None, None),
    ],
)
def test_some_figures(
    key: str, flops: float, gigabytes: int, watts: float | None, price: float | None
) -> None:
    entry = DEFAULT[key]
    assert entry.peak_flops["bf16"] == flops
    assert entry.hbm_bytes == gigabytes * 10**9
    assert entry.watts == watts
    assert (entry.price.usd_per_chip_hour if entry.price else None) == price


def test_every_price_has_a_source() -> None:
    assert all(entry.price.source for entry in DEFAULT.values() if entry.price)


def test_cpu_has_nothing() -> None:
    cpu = DEFAULT["cpu"]
    assert (cpu.kind, cpu.resource, cpu.chips_per_host, cpu.peak_flops) == (VendorKind.CPU, "", 0, {})
    assert not cpu.allows("2x2")


@pytest.mark.parametrize(
    ("key", "topology", "chips", "per_worker", "hosts"),
    [
        ("tpu-v4", "2x2x1", 4, 4, 1),
        ("tpu-v4", "2x2x4", 16, 4, 4),
        ("tpu-v4", "8x4x4", 128, 4, 32),
        ("tpu-v5e", "1x1", 1, 1, 1),
        ("tpu-v5e", "2x2", 4, 4, 1),
        ("tpu-v5e", "2x4", 8, 4, 2),
        ("tpu-v5e", "16x16", 256, 4, 64),
        ("tpu-v5p", "4x4x4", 64, 4, 16),
        ("tpu-v5p", "16x16x24", 6144, 4, 1536),
        ("tpu-v6e", "4x8", 32, 4, 8),
        ("tpu7x", "1x1x1", 1, 1, 1),
        ("tpu7x", "4x4x8", 128, 4, 32),
    ],
)
def test_hosts_of_a_slice(key: str, topology: str, chips: int, per_worker: int, hosts: int) -> None:
    entry = DEFAULT[key]
    assert entry.chips(topology) == chips
    assert entry.chips_per_worker(topology) == per_worker
    assert entry.hosts(topology) == hosts
    assert entry.multi_host(topology) is (hosts > 1)


@pytest.mark.parametrize(
    ("key", "topology"),
    [
        ("tpu-v5e", "4x2"),
        ("tpu-v5e", "32x32"),
        ("tpu-v5e", "2x2x1"),
        ("tpu-v5p", "4x8x4"),
        ("tpu-v5p", "4x4x5"),
        ("tpu-v5p", "2x4"),
        ("tpu-v4", "16x16x20"),
        ("tpu7x", "1x1"),
        ("tpu-v5p", "cube"),
        ("nvidia-h100-80gb", "4x4x4"),
    ],
)
def test_impossible_topologies(key: str, topology: str) -> None:
    entry = DEFAULT[key]
    assert not entry.allows(topology)
    for method in (entry.chips, entry.hosts, entry.worker_sizes, entry.multi_host):
        with pytest.raises(ValueError, match=f"impossible topology '{topology}' of {key}"):
            method(topology)


def test_one_big_host_instead_of_two() -> None:
    entry = DEFAULT["tpu-v6e"]
    assert entry.worker_sizes("2x4") == (4, 8)
    assert entry.hosts("2x4", 8) == 1
    assert entry.worker_sizes("4x4") == (4,)


def test_devices_of_a_chip() -> None:
    assert {key for key, entry in DEFAULT.items() if entry.devices_per_chip == 2} == {"tpu7x"}


def test_node_selector() -> None:
    assert DEFAULT["tpu-v5e"].node_selector("4x4") == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
    }
    gpu = {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
    assert DEFAULT["nvidia-h100-80gb"].node_selector() == gpu
    assert DEFAULT["cpu"].node_selector() == {}


def test_override_changes_single_fields() -> None:
    price = {"usdPerChipHour": 2.5, "asOf": "2026-11-01", "source": "contract"}
    merged = DEFAULT.merged({"nvidia-h100-80gb": {"price": price, "chipsPerHost": 4}})
    entry, before = merged["nvidia-h100-80gb"], DEFAULT["nvidia-h100-80gb"]
    assert entry.price is not None
    assert (entry.price.usd_per_chip_hour, entry.price.as_of, entry.chips_per_host) == (2.5, "2026-11-01", 4)
    assert entry.peak_flops == before.peak_flops
    assert before.chips_per_host == 8
    assert len(merged) == len(DEFAULT)


def test_override_adds_and_removes_types() -> None:
    new = {"kind": "gpu", "resource": "amd.com/gpu", "chipsPerHost": 8}
    merged = DEFAULT.merged({"amd-mi300x": new, "nvidia-l4": None})
    assert merged["amd-mi300x"].resource == "amd.com/gpu"
    assert merged["amd-mi300x"].price is None
    assert "nvidia-l4" not in merged
    assert merged.get("nvidia-l4") is None


@pytest.mark.parametrize(
    ("override", "path", "words"),
    [
        ({"x": 3}, "x", "given 3; allowed: a table"),
        ({"x": {"kind": "gpu"}}, "x.chipsPerHost", "required"),
        ({"x": {"kind": "npu", "chipsPerHost": 1}}, "x.kind", "given 'npu'; allowed: 'gpu', 'tpu' or 'cpu'"),
        ({"nvidia-l4": {"wattz": 1}}, "nvidia-l4.wattz", "unknown field; allowed: key, kind"),
        ({"nvidia-l4": {"watts": -1}}, "nvidia-l4.watts", "given -1; allowed: more than 0"),
        ({"nvidia-l4": {"watts": "lots"}}, "nvidia-l4.watts", "given 'lots'; allowed: a number"),
        ({"nvidia-l4": {"price": {"usdPerChipHour": 1}}}, "nvidia-l4.price.source", "required"),
        (
            {"tpu-v4": {"topologies": ["2x"]}},
            "tpu-v4.topologies[0]",
            "given '2x'; allowed: text that matches",
        ),
        ({"tpu-v4": {"kind": "gpu"}}, "tpu-v4", "keys of kind tpu begin with 'tpu'"),
        ({"big": {"kind": "tpu", "resource": "r/t", "chipsPerHost": 4}}, "big", "begin with 'tpu'"),
        ({"tpu-x": {"kind": "tpu", "resource": "r/t", "chipsPerHost": 4}}, "tpu-x", "topologies or cubes"),
        ({"cpu": {"chipsPerHost": 1}}, "cpu", "kind cpu has no resource and no chips"),
        ({"nvidia-l4": {"resource": ""}}, "nvidia-l4", "needs a resource"),
        ({"nvidia-l4": {"topologies": ["2x2"]}}, "nvidia-l4", "kind gpu has no topologies"),
        ({"nvidia-b200": {"maxChipsPerHost": 4}}, "nvidia-b200", "maxChipsPerHost is less"),
        ({"tpu-v4": {"topologies": ["2x3x1"]}}, "tpu-v4", "no whole number of hosts"),
        ({"tpu-v4": {"wholeHostTopologies": {"2x2x2": 4}}}, "tpu-v4", "not a topology of this type with 4"),
        ({"Bad Key": {"kind": "cpu", "chipsPerHost": 0}}, "Bad Key.key", "text that matches"),
    ],
)
def test_refused_overrides(override: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(CatalogError) as refused:
        DEFAULT.merged(override)
    messages = {error.path: error.message for error in refused.value.errors}
    assert path in messages, messages
    assert words in messages[path]
    assert path in str(refused.value)


def test_an_entry_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        DEFAULT["cpu"].resource = "x"  # type: ignore[misc]


def test_entry_without_largest_host() -> None:
    entry = AcceleratorType(key="x", kind=VendorKind.GPU, resource="r/x", chips_per_host=2)
    assert entry.largest_host == 2
    assert entry.allowed_topologies() == "none"
