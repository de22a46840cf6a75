"""Bitmap, clock and roster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.core.gang.clock import rfc3339, rfc3339_millis, unix
from drumline.core.training import bitmap
from tests.unit.core.training import jobs


@given(st.frozensets(st.integers(0, 5000), max_size=300))
def test_bitmap_round_trip(indexes):
    assert bitmap.decode(bitmap.encode(indexes)) == indexes


def test_bitmap_of_ten_thousand_stays_small():
    assert len(bitmap.encode(range(10_000))) < 100
    assert len(bitmap.encode(range(0, 10_000, 2))) < 120


@pytest.mark.parametrize("text", ["", "%%%", "AAAA", None])
def test_a_bitmap_that_is_not_ours_reads_as_empty(text):
    assert bitmap.decode(text) == frozenset()


@given(st.integers(0, 4_000_000_000_000))
def test_clock_round_trip(millis):
    seconds = millis / 1000
    assert abs(unix(rfc3339_millis(seconds)) - seconds) < 0.002
    assert unix(rfc3339(seconds)) == int(seconds)


def test_unreadable_times_fall_back():
    assert unix("yesterday", 7.0) == 7.0
    assert unix(None) == 0.0


def test_roster_indexes_match_names_and_members():
    helpers = [{"name": "loader", "replicas": 3, "template": jobs.TEMPLATE}]
    observation = jobs.begun(jobs.job(jobs.spec(helpers=helpers)))
    roster = observation.roster
    assert roster.size == 7
    by_index = roster.of_attempt(observation.pods, 1)
    assert sorted(by_index) == list(range(7))
    assert all(by_index[i].name == roster.name_of(i, 1) for i in range(7))
    assert roster.hostname_of(0) == "job-0-0"
    assert roster.hostname_of(6) == "job-loader-2"
    with pytest.raises(IndexError, match="7 pods"):
        roster.name_of(7, 1)
