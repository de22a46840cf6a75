"""Names never collide and labels alone prove nothing."""

from __future__ import annotations

import pytest

from drumline.core.gang.names import (
    Owner,
    controller_uid,
    fqdn,
    helper_hostname,
    helper_pod_name,
    hostname,
    member_of,
    pod_name,
    revision_name,
)
from drumline.core.gang.types import Member

OWNER = Owner("drumline.dev/v1alpha1", "TrainingJob", "team", "llama", "u-1")


def test_names_follow_the_documented_pattern() -> None:
    assert pod_name("llama", 3, 1, 15) == "llama-3-1-15"
    assert helper_pod_name("llama", 3, "loader", 2) == "llama-3-loader-2"
    assert hostname("llama", 0, 0) == "llama-0-0"
    assert helper_hostname("llama", "loader", 2) == "llama-loader-2"
    assert fqdn("llama-0-0", "llama", "team") == "llama-0-0.llama.team.svc.cluster.local"


def test_owner_reference_is_a_controller_reference() -> None:
    reference = OWNER.owner_reference()
    assert reference["controller"] is True
    assert (reference["kind"], reference["name"], reference["uid"]) == ("TrainingJob", "llama", "u-1")


def test_a_chunk_of_one_job_is_never_the_first_chunk_of_another() -> None:
    chunks = {revision_name("llama", 3, n) for n in range(1, 20)}
    firsts = {revision_name(job, n) for job in ("llama", "llama-3", "llama-3-c1") for n in range(20)}
    assert not chunks & firsts


@pytest.mark.parametrize(
    ("reference", "uid"),
    [
        ({"controller": True, "apiVersion": "drumline.dev/v1alpha1", "uid": "u"}, "u"),
        ({"controller": True, "apiVersion": "drumline.dev/v2", "uid": "u"}, "u"),
        ({"controller": False, "apiVersion": "drumline.dev/v1alpha1", "uid": "u"}, ""),
        ({"controller": True, "apiVersion": "batch/v1", "uid": "u"}, ""),
        ({"controller": True, "apiVersion": "drumline.dev.example/v1", "uid": "u"}, ""),
    ],
)
def test_only_a_controller_of_our_group_counts(reference: dict[str, object], uid: str) -> None:
    assert controller_uid({"ownerReferences": [reference]}) == uid


def test_member_is_read_from_labels_and_owner() -> None:
    labels = {
        "drumline.dev/job": "llama",
        "drumline.dev/attempt": "3",
        "drumline.dev/slice": "1",
        "drumline.dev/worker": "15",
        "drumline.dev/role": "worker",
    }
    assert member_of(labels, "u-1") == Member("llama", "u-1", 3, "worker", 1, 15)
    assert member_of(labels, "") is None
    for missing in ("job", "attempt", "worker"):
        assert member_of({k: v for k, v in labels.items() if not k.endswith("/" + missing)}, "u-1") is None
    assert member_of({**labels, "drumline.dev/attempt": "x"}, "u-1") is None


def test_helper_labels_need_no_slice() -> None:
    labels = {
        "drumline.dev/job": "llama",
        "drumline.dev/attempt": "0",
        "drumline.dev/worker": "2",
        "drumline.dev/role": "loader",
    }
    assert member_of(labels, "u-1") == Member("llama", "u-1", 0, "loader", 0, 2)
