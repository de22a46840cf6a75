"""Validation of AcceleratorQueues, and the shape of their CRD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drumline.api import crd
from drumline.api.catalog import Catalog
from drumline.api.crd_kinds import ACCELERATOR_QUEUE, KINDS
from drumline.api.openapi import at
from drumline.api.queue import QueueingStrategy, Reclaim
from drumline.api.validation_queue import parse_queue, unknown_accelerators
from tests.unit.api.queue_specs import MALFORMED, full

ROOT = Path(__file__).parents[3]


def test_a_full_spec_is_read() -> None:
    spec, errors = parse_queue(full())
    assert errors == ()
    assert spec is not None
    assert spec.queueing_strategy is QueueingStrategy.STRICT_FIFO
    assert spec.preemption.reclaim_within_cohort is Reclaim.ANY
    assert spec.quotas[0].lending_limit == 128


def test_an_empty_spec_is_a_queue_for_nobody() -> None:
    spec, errors = parse_queue({})
    assert errors == ()
    assert spec is not None
    assert (spec.default, spec.namespace_selector, spec.quotas) == (False, None, ())


@pytest.mark.parametrize(("raw", "path"), MALFORMED)
def test_what_is_wrong_is_named(raw: dict[str, Any], path: str) -> None:
    spec, errors = parse_queue(raw)
    assert spec is None
    assert path in {error.path for error in errors}
    assert all("allowed" in error.message or "given" in error.message for error in errors), errors


def test_what_is_no_label_is_named() -> None:
    spec, (error,) = parse_queue({"namespaceSelector": {"matchLabels": {"bad key!": "x", "team": "y"}}})
    assert spec is None
    assert str(error) == "spec.namespaceSelector.matchLabels: given 'bad key!'; allowed: keys of labels"


@pytest.mark.parametrize("raw", [None, [], "research"])
def test_what_is_no_object_is_refused(raw: Any) -> None:
    spec, (error,) = parse_queue(raw)
    assert spec is None
    assert error.path == "spec"


def test_what_the_catalogue_does_not_know_is_named_with_what_it_does() -> None:
    raw = full()
    raw["quotas"][1]["accelerator"] = "abacus"
    spec, _ = parse_queue(raw)
    assert spec is not None
    (error,) = unknown_accelerators(spec, Catalog.default())
    assert error.path == "spec.quotas[1].accelerator"
    assert "'abacus'" in error.message
    assert "nvidia-h100-80gb" in error.message


def test_the_crd_is_of_the_whole_cluster_and_up_to_date() -> None:
    made = crd.crd(ACCELERATOR_QUEUE)
    assert made["spec"]["scope"] == "Cluster"
    assert {crd.crd(kind)["spec"]["scope"] for kind in KINDS if kind is not ACCELERATOR_QUEUE} == {
        "Namespaced"
    }
    written = (ROOT / ACCELERATOR_QUEUE.file).read_text(encoding="utf-8")
    assert written == crd.text(ACCELERATOR_QUEUE)


def test_an_accelerator_has_one_quota() -> None:
    quotas = at(crd.schema(ACCELERATOR_QUEUE), "spec.quotas")
    assert (quotas["x-kubernetes-list-type"], quotas["x-kubernetes-list-map-keys"]) == (
        "map",
        ["accelerator"],
    )
