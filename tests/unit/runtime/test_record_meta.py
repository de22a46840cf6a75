"""Who an object of ours is, whatever its kind and however little is set."""

from __future__ import annotations

from drumline.api.meta import MANAGED_BY
from drumline.core.gang.meta import ObjectMeta
from drumline.runtime.record_meta import read_meta

LEAST = {"metadata": {"namespace": "ns", "name": "chat", "uid": "u", "resourceVersion": "7"}}


def test_what_is_absent_is_as_at_the_beginning() -> None:
    assert read_meta(LEAST) == ObjectMeta("ns", "chat", "u", 1, "7", 0.0, managed_by=MANAGED_BY)


def test_labels_all_annotations_of_ours_and_who_manages_it() -> None:
    more = {
        "generation": 3,
        "creationTimestamp": "2027-01-15T08:00:00Z",
        "deletionTimestamp": "2027-01-15T09:00:00Z",
        "labels": {"a": "b"},
        "annotations": {"drumline.dev/promote": "chat-1", "other.example.org/x": "y"},
    }
    found = read_meta({"metadata": {**LEAST["metadata"], **more}, "spec": {"managedBy": "example.org/other"}})
    assert (found.generation, found.created_at, found.deleting) == (3, 1_800_000_000.0, True)
    assert (found.labels, found.annotations) == ({"a": "b"}, {"drumline.dev/promote": "chat-1"})
    assert found.managed_by == "example.org/other"
