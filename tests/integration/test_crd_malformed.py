"""Thousands of malformed TrainingJobs on a real API server: each is refused, and the message names the field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from e2e.cluster.provider import Cluster
from tests.integration.admission import admission, install, manifest
from tests.unit.api.malformed import FAULTS, FULL, Fault, malformed

pytestmark = pytest.mark.cluster
SPECS = 250
FAULTS_EACH = 10


@pytest.fixture(scope="module", autouse=True)
def _crd(cluster: Cluster) -> None:
    install(cluster)


def collected(strategy: st.SearchStrategy[list[Any]], count: int) -> list[Any]:
    """What `count` draws of the strategy give in all, so that it can be sent at once."""
    found: list[Any] = []

    @settings(
        max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def collect(drawn: list[Any]) -> None:
        found.extend(drawn)

    collect()
    return found


async def _all_refused(cluster: Cluster, namespace: str, broken: list[tuple[dict[str, Any], Fault]]) -> None:
    async with admission(cluster, namespace) as api:
        answers = await api.ask_all(manifest(raw, "a") for raw, _ in broken)
    wrong = [
        (fault.path, fault.what, answer.code, answer.message)
        for (_, fault), answer in zip(broken, answers, strict=True)
        if answer.code not in (400, 422) or fault.path not in answer.message
    ]
    assert wrong == []


async def test_each_fault_of_the_full_spec(cluster: Cluster, namespace: str) -> None:
    await _all_refused(cluster, namespace, [(fault.spec(), fault) for fault in FAULTS])


async def test_thousands_of_malformed_specs(cluster: Cluster, namespace: str) -> None:
    broken = collected(malformed(FAULTS_EACH), SPECS)
    assert len(broken) == SPECS * FAULTS_EACH
    await _all_refused(cluster, namespace, broken)


@pytest.mark.parametrize("spec", [None, "text", 3, [], True])
async def test_a_spec_that_is_no_object(cluster: Cluster, namespace: str, spec: Any) -> None:
    async with admission(cluster, namespace) as api:
        answer = await api.ask(manifest(spec))
    assert answer.code == 422
    assert "spec" in answer.message


async def test_no_spec_and_an_unknown_field_beside_it(cluster: Cluster, namespace: str) -> None:
    bare = manifest(FULL)
    del bare["spec"]
    async with admission(cluster, namespace) as api:
        missing, unknown = await api.ask_all([bare, {**manifest(FULL), "sepc": {}}])
    assert "spec: Required value" in missing.message
    assert 'unknown field "sepc"' in unknown.message
