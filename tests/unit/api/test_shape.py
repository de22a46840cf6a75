"""Shapes: what follows from accelerator, topology and framework."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.catalog import Catalog
from drumline.api.shape import GangShape, resolve_shape
from tests.unit.api.specs import CPU, GPU, TPU, spec


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"accelerator": CPU}, GangShape(1, 1, 0, 1, "", 0)),
        ({"accelerator": CPU, "framework": "torch", "workersPerSlice": 3}, GangShape(1, 3, 0, 1, "", 0)),
        (
            {"accelerator": TPU, "slices": 2, "framework": "jax"},
            GangShape(2, 16, 4, 1, "google.com/tpu", 128),
        ),
        ({"accelerator": TPU, "framework": "torch"}, GangShape(1, 16, 4, 4, "google.com/tpu", 64)),
        (
            {"accelerator": {"type": "tpu-v6e", "topology": "2x4", "chipsPerWorker": 8}},
            GangShape(1, 1, 8, 1, "google.com/tpu", 8),
        ),
        (
            {"accelerator": {"type": "tpu-v5e", "topology": "1x1"}, "slices": 5},
            GangShape(5, 1, 1, 1, "google.com/tpu", 5),
        ),
        (
            {"accelerator": GPU, "framework": "torch", "workersPerSlice": 4},
            GangShape(1, 4, 8, 8, "nvidia.com/gpu", 32),
        ),
        (
            {"accelerator": GPU, "framework": "jax", "workersPerSlice": 4, "slices": 2},
            GangShape(2, 4, 8, 1, "nvidia.com/gpu", 64),
        ),
        (
            {"accelerator": {**GPU, "chipsPerWorker": 2}, "framework": "torch", "processesPerWorker": 1},
            GangShape(1, 1, 2, 1, "nvidia.com/gpu", 2),
        ),
        ({"accelerator": {"type": "nvidia-l4"}}, GangShape(1, 1, 1, 1, "nvidia.com/gpu", 1)),
    ],
)
def test_shapes(fields: dict[str, Any], shape: GangShape) -> None:
    assert resolve_shape(spec(**fields), Catalog.default()) == shape


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 8))
def test_chips_are_those_of_all_workers(slices: int, workers: int, chips: int) -> None:
    job = spec(accelerator={**GPU, "chipsPerWorker": chips}, slices=slices, workersPerSlice=workers)
    shape = resolve_shape(job, Catalog.default())
    assert shape.workers == slices * workers
    assert shape.chips == shape.workers * shape.chips_per_worker


def test_what_validation_would_have_refused() -> None:
    with pytest.raises(KeyError):
        resolve_shape(spec(accelerator={"type": "abacus"}), Catalog.default())
    with pytest.raises(ValueError, match="impossible topology"):
        resolve_shape(spec(accelerator={"type": "tpu-v5p", "topology": "3x3"}), Catalog.default())
