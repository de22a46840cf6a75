"""The scale subresource of a TrainingJob on a real API server: whose it is, and within which bounds."""

from __future__ import annotations

import pytest

from drumline.api.validation import parse_spec
from e2e.cluster.provider import Cluster
from tests.integration.admission import admission, install, manifest
from tests.unit.api.specs import raw_spec
from tests.unit.api.test_validation_elastic import ACCEPTED, REFUSED

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", autouse=True)
def _crd(cluster: Cluster) -> None:
    install(cluster)


async def test_bounds_are_refused_at_the_field(cluster: Cluster, namespace: str) -> None:
    async with admission(cluster, namespace) as api:
        answers = await api.ask_all(manifest(raw_spec(**fields)) for fields, _, _ in REFUSED)
    for (_, path, _), answer in zip(REFUSED, answers, strict=True):
        assert not answer.accepted, path
        assert path in answer.message or path.rpartition(".")[2] in answer.message, (path, answer.message)


async def test_what_is_right_is_taken(cluster: Cluster, namespace: str) -> None:
    async with admission(cluster, namespace) as api:
        answers = await api.ask_all(manifest(raw_spec(**fields)) for fields in ACCEPTED)
    for fields, answer in zip(ACCEPTED, answers, strict=True):
        assert answer.accepted, answer.message
        assert parse_spec(answer.body["spec"]) == parse_spec(raw_spec(**fields))


async def test_an_elastic_job_is_scaled_within_its_bounds(cluster: Cluster, namespace: str) -> None:
    async with admission(cluster, namespace) as api:
        spec = raw_spec(slices=2, elastic={"minSlices": 2, "maxSlices": 4})
        assert (await api.create(manifest(spec, "bends"))).accepted
        scaled = await api.patch("bends", {"spec": {"replicas": 4}}, "/scale")
        assert scaled.accepted, scaled.message
        assert scaled.body["spec"]["replicas"] == 4
        for replicas in (1, 5):
            refused = await api.patch("bends", {"spec": {"replicas": replicas}}, "/scale")
            assert refused.code == 422
            assert "spec.slices" in refused.message
            assert "at least elastic.minSlices and at most elastic.maxSlices" in refused.message


async def test_any_other_job_is_not_scaled(cluster: Cluster, namespace: str) -> None:
    async with admission(cluster, namespace) as api:
        assert (await api.create(manifest(raw_spec(slices=2), "stiff"))).accepted
        for subresource, change in (("/scale", {"replicas": 3}), ("", {"slices": 3})):
            refused = await api.patch("stiff", {"spec": change}, subresource)
            assert refused.code == 422
            assert "only a job with spec.elastic can be scaled" in refused.message
        for elastic in ({"maxSlices": 4}, None):
            late = await api.patch("stiff", {"spec": {"elastic": elastic}})
            assert late.accepted is (elastic is None), "elastic comes with the job or not at all"


async def test_the_name_leaves_room_for_the_last_slice(cluster: Cluster, namespace: str) -> None:
    spec, name = raw_spec(slices=1, elastic={"maxSlices": 1001}), "x" * 52
    async with admission(cluster, namespace) as api:
        refused = await api.ask(manifest(spec, name))
    assert not refused.accepted
    assert "metadata.name is too long" in refused.message
