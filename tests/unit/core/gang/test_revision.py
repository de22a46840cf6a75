"""A placement survives being written down, and stays small."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.core.gang import revision
from drumline.core.gang.names import Owner
from drumline.core.gang.types import Placement

OWNER = Owner("drumline.dev/v1alpha1", "TrainingJob", "ns", "llama", "uid-1")
NAMES = st.lists(st.text("abc-0123", max_size=12), max_size=60)


def _round_trip(nodes):
    manifests = revision.encode(OWNER, 3, Placement(tuple(nodes)), "hash")
    return manifests, revision.decode(orjson.loads(orjson.dumps(manifests[::-1])))


@given(NAMES)
def test_round_trip(nodes):
    assert _round_trip(nodes)[1].nodes == tuple(nodes)


def test_ten_thousand_pods_on_gke_names_fit_one_small_object():
    nodes = [
        f"gke-train-h100-pool-{i // 1000}-5f3c9a{i * 7919 % 65536:04x}-{i % 26:02d}xy" for i in range(10_000)
    ]
    manifests, decoded = _round_trip(nodes)
    assert decoded.nodes == tuple(nodes)
    assert len(manifests) == 1
    assert len(orjson.dumps(manifests[0])) < 400_000


def test_many_nodes_are_chunked(monkeypatch):
    monkeypatch.setattr(revision, "CHUNK", 4)
    manifests, decoded = _round_trip([f"n-{i}" for i in range(10)])
    assert [m["metadata"]["name"] for m in manifests] == ["llama-3", "llama-3-c1", "llama-3-c2"]
    assert len(decoded.nodes) == 10
    with pytest.raises(ValueError, match="hold 6 pods"):
        revision.decode([manifests[0], manifests[2]])


def test_no_object_outgrows_the_store_whatever_the_names():
    nodes = [f"{i * 2_654_435_761 % 2**32:08x}".ljust(253, "x") for i in range(10_000)]
    manifests, decoded = _round_trip(nodes)
    assert decoded.nodes == tuple(nodes)
    assert max(len(orjson.dumps(m)) for m in manifests) < 1_000_000


def test_pods_that_share_a_node_are_one_entry():
    manifests, decoded = _round_trip(["a"] * 8 + ["b"] * 8)
    assert manifests[0]["data"]["nodes"] == [[0, "a", 8], [0, "b", 8]]
    assert decoded.nodes == ("a",) * 8 + ("b",) * 8


def test_the_revision_belongs_to_its_job():
    (manifest,), _ = _round_trip(["a"])
    assert manifest["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    assert manifest["metadata"]["labels"]["drumline.dev/job"] == "llama"
    assert manifest["revision"] == 3


def test_pods_pinned_to_no_node_are_kept_as_such():
    manifests, decoded = _round_trip([""] * 4)
    assert manifests[0]["data"]["nodes"] == [[0, "", 4]]
    assert decoded.unpinned
    assert decoded.nodes == ("",) * 4
    assert not _round_trip(["a", "b"])[1].unpinned
