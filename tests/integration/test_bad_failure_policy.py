"""`failurePolicy` on a real API server: what CEL refuses, and that what is right passes with its defaults."""

from __future__ import annotations

import pytest

from drumline.api.validation import parse_spec
from e2e.cluster.provider import Cluster
from tests.integration.admission import admission, install, manifest
from tests.unit.api.specs import raw_spec
from tests.unit.api.test_validation_failure import ACCEPTED, REFUSED

pytestmark = pytest.mark.cluster

# the operator's language of patterns is smaller than RE2's, and names of helpers are beyond a rule's sight
LEFT_TO_THE_OPERATOR = ("given 'ghost'", "unknown escape", "more than 128 characters")


@pytest.fixture(scope="module", autouse=True)
def _crd(cluster: Cluster) -> None:
    install(cluster)


async def test_what_cel_can_refuse_is_refused_at_the_field(cluster: Cluster, namespace: str) -> None:
    async with admission(cluster, namespace) as api:
        answers = await api.ask_all(manifest(raw_spec(**fields)) for fields, _, _ in REFUSED)
    for (_, path, words), answer in zip(REFUSED, answers, strict=True):
        left = any(w in words for w in LEFT_TO_THE_OPERATOR)
        assert answer.accepted is left, (path, answer.body)
        assert left or path.rpartition(".")[0] in answer.message, (path, answer.message)


async def test_what_is_right_is_taken(cluster: Cluster, namespace: str) -> None:
    async with admission(cluster, namespace) as api:
        answers = await api.ask_all(manifest(raw_spec(**fields)) for fields in ACCEPTED)
    for fields, answer in zip(ACCEPTED, answers, strict=True):
        assert answer.accepted, answer.message
        assert parse_spec(answer.body["spec"]) == parse_spec(raw_spec(**fields))
