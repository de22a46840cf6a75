"""The accelerator catalogue: what each type is, as data.

The defaults lie beside this module in ``catalog.toml``; a cluster's ConfigMap of the same shape is merged
over them field by field. A figure that is not known is None, never a guess.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from drumline.api import topology as topo
from drumline.api.base import ApiModel
from drumline.api.errors import FieldError
from drumline.api.wire import field_errors

KEY_PATTERN = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
TPU_PREFIX = "tpu"


class VendorKind(StrEnum):
    """Family of an accelerator."""

    GPU = "gpu"
    TPU = "tpu"
    CPU = "cpu"


class Price(ApiModel):
    """On-demand price, with where and when it was read."""

    usd_per_chip_hour: float = Field(ge=0, description="US dollars a chip-hour.")
    as_of: str | None = Field(default=None, description="Day it was read, YYYY-MM-DD; none = undated source.")
    source: str = Field(min_length=1, description="Where it was read.")


class AcceleratorType(ApiModel):
    """One type of accelerator. Figures are per chip."""

    key: str = Field(pattern=KEY_PATTERN, description="Name in spec.accelerator.type.")
    kind: VendorKind = Field(description="gpu, tpu or cpu.")
    resource: str = Field(default="", max_length=253, description="Extended resource; empty for cpu.")
    chips_per_host: int = Field(ge=0, le=1024, description="Chips of the usual host; 0 for cpu.")
    max_chips_per_host: int | None = Field(
        default=None, ge=1, le=1024, description="Chips of the largest host."
    )
    scale_up_chips: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Chips of the largest scale-up domain, such as an NVLink domain; default: of the largest host. Of a "
        "TPU it is a slice.",
    )
    devices_per_chip: int = Field(default=1, ge=1, le=64, description="Devices a framework sees per chip.")
    node_labels: Mapping[str, str] = Field(default_factory=dict, description="Labels of such nodes.")
    topology_label: str = Field(default="", max_length=317, description="Node label of the slice's topology.")
    topologies: tuple[topo.TopologyText, ...] = Field(default=(), description="Shapes listed one by one.")
    cubes: topo.Cubes | None = Field(default=None, description="Rule of the larger shapes.")
    whole_host_topologies: Mapping[str, int] = Field(
        default_factory=dict, description="Topologies also sold as one big host, with its chips."
    )
    peak_flops: Mapping[str, float] = Field(
        default_factory=dict, description="Dense peak FLOP/s by precision (bf16, fp8, int8)."
    )
    hbm_bytes: int | None = Field(default=None, ge=1, description="High-bandwidth memory, bytes.")
    hbm_bytes_per_second: float | None = Field(default=None, gt=0, description="Memory bandwidth, bytes/s.")
    scale_up_bytes_per_second: float | None = Field(
        default=None, gt=0, description="Bandwidth of the scale-up link, both directions, bytes/s."
    )
    watts: float | None = Field(default=None, gt=0, description="Board power, watts.")
    price: Price | None = Field(default=None, description="On-demand price.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problem := _inconsistency(self):
            raise ValueError(problem)
        return self

    @property
    def is_tpu(self) -> bool:
        """Whether slices have a topology."""
        return self.kind is VendorKind.TPU

    @property
    def largest_host(self) -> int:
        """Chips of the largest host."""
        return self.max_chips_per_host or self.chips_per_host

    @property
    def scale_up(self) -> int:
        """Chips of the largest scale-up domain; on TPU of a host, as slices differ."""
        return self.scale_up_chips or self.largest_host

    @property
    def scales_up_across_hosts(self) -> bool:
        """Whether hosts share a scale-up domain that node labels tell."""
        return not self.is_tpu and self.scale_up > self.largest_host

    def allows(self, topology: str) -> bool:
        """Whether a slice of that topology exists."""
        axes = topo.parse(topology)
        if axes is None:
            return False
        return topology in self.topologies or (self.cubes is not None and self.cubes.allows(axes))

    def allowed_topologies(self) -> str:
        """The topologies that exist, for a message."""
        texts = [*self.topologies, *([str(self.cubes)] if self.cubes else [])]
        return ", ".join(texts) or "none"

    def chips(self, topology: str) -> int:
        """Chips of one slice. ValueError when no such slice exists."""
        if not self.allows(topology):
            raise ValueError(f"impossible topology {topology!r} of {self.key}")
        return topo.chips(topology)

    def worker_sizes(self, topology: str) -> tuple[int, ...]:
        """Chips a worker may have in such a slice, the usual first. ValueError as `chips`."""
        usual = min(self.chips(topology), self.chips_per_host)
        whole = self.whole_host_topologies.get(topology)
        return (usual,) if whole in (None, usual) else (usual, whole)

    def chips_per_worker(self, topology: str) -> int:
        """Chips a worker usually has in such a slice. ValueError as `chips`."""
        return self.worker_sizes(topology)[0]

    def hosts(self, topology: str, chips_per_worker: int | None = None) -> int:
        """Hosts, so workers, of one slice; `chips_per_worker` picks a machine. ValueError as `chips`."""
        return self.chips(topology) // (chips_per_worker or self.chips_per_worker(topology))

    def multi_host(self, topology: str) -> bool:
        """Whether such a slice spans hosts: then its node pool is atomic. ValueError as `chips`."""
        return self.hosts(topology) > 1

    def node_selector(self, topology: str | None = None) -> dict[str, str]:
        """Labels that a node for this type carries, the slice's topology included."""
        labels = dict(self.node_labels)
        if topology and self.topology_label:
            labels[self.topology_label] = topology
        return labels


def _inconsistency(entry: AcceleratorType) -> str | None:
    """The first contradiction within an entry."""
    cpu = entry.kind is VendorKind.CPU
    bare = not entry.resource or entry.chips_per_host < 1
    shapes = bool(entry.topologies or entry.cubes or entry.whole_host_topologies)
    rules = (
        (
            entry.is_tpu != entry.key.startswith(TPU_PREFIX),
            f"key {entry.key!r}: keys of kind tpu begin with 'tpu', and no others do",
        ),
        (cpu and bool(entry.resource or entry.chips_per_host), "kind cpu has no resource and no chips"),
        (not cpu and bare, f"kind {entry.kind} needs a resource and chipsPerHost of at least 1"),
        (entry.is_tpu and not (entry.topologies or entry.cubes), "kind tpu needs topologies or cubes"),
        (not entry.is_tpu and shapes, f"kind {entry.kind} has no topologies"),
        (
            entry.scale_up_chips is not None and entry.scale_up_chips < entry.largest_host,
            "scaleUpChips is less than the chips of the largest host",
        ),
        (entry.largest_host < entry.chips_per_host, "maxChipsPerHost is less than chipsPerHost"),
    )
    broken = (problem for applies, problem in rules if applies)
    return next(broken, None) or _odd_topology(entry)


def _odd_topology(entry: AcceleratorType) -> str | None:
    """The first topology that is no whole number of hosts."""
    for topology in entry.topologies:
        chips = topo.chips(topology)
        if chips % max(1, min(chips, entry.chips_per_host)):
            return f"topology {topology!r} is no whole number of hosts of {entry.chips_per_host} chips"
    for topology, chips in entry.whole_host_topologies.items():
        if not entry.allows(topology) or chips != topo.chips(topology):
            return f"wholeHostTopologies {topology!r}: not a topology of this type with {chips} chips"
    return None


class CatalogError(ValueError):
    """A catalogue override that can't be used; `errors` has each reason."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        self.errors = errors
        super().__init__("; ".join(map(str, errors)))


class Catalog(Mapping[str, AcceleratorType]):
    """Accelerator types by key."""

    def __init__(self, raw: Mapping[str, Mapping[str, Any]]) -> None:
        """Read raw entries in wire names. CatalogError when any can't be used."""
        self._raw = raw
        self._entries: dict[str, AcceleratorType] = {}
        errors: list[FieldError] = []
        for key, entry in raw.items():
            try:
                self._entries[key] = AcceleratorType.model_validate({**entry, "key": key})
            except ValidationError as error:
                errors.extend(field_errors(error, AcceleratorType, prefix=key))
        if errors:
            raise CatalogError(tuple(errors))

    @staticmethod
    @cache
    def default() -> Catalog:
        """The catalogue that ships with the package."""
        text = resources.files("drumline.api").joinpath("catalog.toml").read_text(encoding="utf-8")
        return Catalog(tomllib.loads(text))

    def __getitem__(self, key: str) -> AcceleratorType:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def merged(self, override: Mapping[str, Any]) -> Catalog:
        """The catalogue with entries changed field by field, added, or (value None) taken out.

        CatalogError, with a FieldError for each fault, when the result can't be used.
        """
        errors = tuple(
            FieldError(str(key), f"given {entry!r}; allowed: a table of fields, or null to remove the type")
            for key, entry in override.items()
            if not (entry is None or isinstance(entry, Mapping))
        )
        if errors:
            raise CatalogError(errors)
        raw = dict(self._raw)
        for key, entry in override.items():
            if entry is None:
                raw.pop(key, None)
            else:
                raw[key] = {**raw.get(key, {}), **entry}
        return Catalog(raw)
