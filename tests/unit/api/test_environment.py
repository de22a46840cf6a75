"""Reserved names agree with what is injected."""

from pathlib import Path

import pytest

from drumline.api.environment import BY_FRAMEWORK, LIST_LIKE, PREFERENCES, TPU, is_reserved, reserved_names
from drumline.api.training import Framework
from drumline.core.training import env_jax, env_torch, env_tpu
from drumline.core.training.environment_facts import GangFacts, WorkerFacts


def gang(slices: int, workers: int, processes: int) -> GangFacts:
    return GangFacts(
        job="llama",
        job_uid="u",
        namespace="ns",
        attempt=1,
        slices=slices,
        workers_per_slice=workers,
        processes_per_worker=processes,
        cluster_domain="cluster.local",
    )


@pytest.mark.parametrize(
    ("module", "reserved"),
    [
        (env_torch, reserved_names(Framework.TORCH, tpu=False)),
        (env_jax, reserved_names(Framework.JAX, tpu=False)),
        (env_tpu, reserved_names(Framework.NONE, tpu=True)),
    ],
)
def test_exactly_what_is_injected_is_reserved(module: object, reserved: frozenset[str]) -> None:
    injected: set[str] = set()
    for facts in (gang(1, 1, 1), gang(2, 4, 1), gang(2, 4, 8), gang(2, 200, 1)):
        for worker in (WorkerFacts(0, 0, 0), WorkerFacts(1, 3, 7)):
            variables = [*module.shared(facts), *module.ranked(facts, worker)]  # type: ignore[attr-defined]
            injected |= {variable["name"] for variable in variables}
    assert injected - PREFERENCES == reserved


def test_every_framework_has_an_entry() -> None:
    assert set(BY_FRAMEWORK) == set(Framework)


def test_list_like_names_are_free() -> None:
    every = {name for names in BY_FRAMEWORK.values() for name in names} | set(TPU)
    assert not every & (LIST_LIKE | PREFERENCES)


@pytest.mark.parametrize(
    ("name", "framework", "tpu", "reserved"),
    [
        ("DRUMLINE_ANYTHING", Framework.NONE, False, True),
        ("DRUMLINES", Framework.NONE, False, False),
        ("RANK", Framework.TORCH, False, True),
        ("RANK", Framework.JAX, False, False),
        ("TPU_NAME", Framework.TORCH, True, True),
        ("TPU_NAME", Framework.TORCH, False, False),
        ("rank", Framework.TORCH, False, False),
        ("XLA_FLAGS", Framework.JAX, True, False),
    ],
)
def test_is_reserved(name: str, framework: Framework, tpu: bool, reserved: bool) -> None:
    assert is_reserved(name, framework, tpu=tpu) is reserved


def test_the_reference_speaks_of_list_like_names() -> None:
    reference = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in reference for name in LIST_LIKE)
