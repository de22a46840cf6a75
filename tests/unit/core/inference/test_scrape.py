"""Signals of real engines' pages, and what lies between two of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.engines import Combine, Metric, SignalMetrics, preset
from drumline.api.inference_model import Engine
from drumline.core.inference.scrape import Series, read, wanted
from drumline.core.inference.signals import EngineSample, Histogram
from drumline.core.inference.windows import KEPT_SECONDS, Track, merged, quantile, rates, within

PAGES = Path(__file__).parents[3] / "data" / "engines"
LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')


def page(engine: str) -> Iterator[Series]:
    (file,) = PAGES.glob(f"{engine}-*.txt")
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") and (found := LINE.match(line)):
            yield found[1], dict(LABEL.findall(found[2] or "")), float(found[3])


def test_a_page_of_vllm() -> None:
    sample = read(page("vllm"), preset(Engine.VLLM).signals, 5.0)
    assert sample.at == 5.0
    assert sample.waiting is not None
    assert sample.running is not None
    assert 0 <= (sample.kv_cache_usage or 0) <= 1
    for histogram in (sample.ttft, sample.tpot):
        assert histogram is not None
        assert histogram.buckets[-1] == (math.inf, histogram.count)
        assert histogram.count > 0
        assert 0 < (quantile(histogram, 0.5) or 0) <= (quantile(histogram, 0.99) or 0)
    assert (sample.requests, sample.failed_requests) == (0, 0), "none was done yet"
    assert (sample.generation_tokens or 0) > 0
    assert 0 < (sample.accepted_tokens or 0) <= (sample.draft_tokens or 0)


def test_a_page_of_llamacpp() -> None:
    sample = read(page("llamacpp"), preset(Engine.LLAMACPP).signals, 5.0)
    assert (sample.waiting, sample.running, sample.in_flight) == (2, 2, 4)
    assert (sample.generation_tokens, sample.prompt_tokens) == (1600, 44)
    assert (sample.accepted_tokens, sample.draft_tokens) == (1042, 2219)
    assert (sample.ttft, sample.tpot) == (None, None), "it exports no latencies"


@pytest.mark.parametrize("engine", list(Engine))
def test_nothing_is_read_from_a_foreign_page(engine: Engine) -> None:
    sample = read([("up", {}, 1.0)], preset(engine).signals, 5.0)
    assert sample == EngineSample(at=5.0)


def test_only_what_is_wanted_need_be_parsed() -> None:
    metrics = preset(Engine.VLLM).signals
    whole = list(page("vllm"))
    assert read((s for s in whole if s[0] in wanted(metrics)), metrics, 1.0) == read(whole, metrics, 1.0)


def test_series_are_combined_and_odd_values_left_out() -> None:
    metrics = SignalMetrics(
        waiting=(Metric(name="new"), Metric(name="old")),
        kv_cache_usage=(Metric(name="use", combine=Combine.MEAN, scale=0.01),),
        failed_requests=(Metric(name="done", labels={"why": ("error", "abort")}),),
    )
    found = read(
        [
            ("old", {}, 7.0),
            ("use", {"rank": "0"}, 50.0),
            ("use", {"rank": "1"}, 100.0),
            ("use", {"rank": "2"}, math.nan),
            ("done", {"why": "stop"}, 9.0),
        ],
        metrics,
        0.0,
    )
    assert (found.waiting, found.kv_cache_usage, found.failed_requests) == (7.0, 0.75, 0.0)


def histogram(*counts: float) -> Histogram:
    bounds = (0.1, 0.2, 0.4, math.inf)
    return Histogram(tuple(zip(bounds, counts, strict=True)), sum(counts), counts[-1])


def test_quantiles_are_prometheus_own() -> None:
    assert quantile(histogram(10, 20, 20, 20), 0.5) == pytest.approx(0.1)
    assert quantile(histogram(10, 20, 20, 20), 0.75) == pytest.approx(0.15)
    assert quantile(histogram(0, 0, 0, 5), 0.9) == 0.4, "beyond the last bound"
    assert quantile(histogram(0, 0, 0, 0), 0.9) is None
    assert quantile(None, 0.9) is None


def test_how_many_are_within_a_limit() -> None:
    h = histogram(10, 20, 20, 24)
    assert (within(h, 0.1), within(h, 0.15), within(h, 0.2)) == (10, pytest.approx(15), 20)
    assert within(h, 9.0) == 20, "what is in the last bucket may be longer"


def test_an_engine_that_began_again_counts_from_zero() -> None:
    old, new = (
        EngineSample(0, requests=100, ttft=histogram(1, 2, 3, 4)),
        EngineSample(60, requests=10, ttft=histogram(1, 1, 1, 1)),
    )
    found = rates(old, new)
    assert (found.requests, found.seconds) == (10, 60)
    assert found.ttft == histogram(1, 1, 1, 1)


@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=2, max_size=5))
def test_what_came_in_adds_up(steps: list[list[int]]) -> None:
    total, samples = [0.0] * 4, []
    for at, step in enumerate(steps):
        total = [t + sum(step[: i + 1]) for i, t in enumerate(total)]
        samples.append(EngineSample(float(at), requests=total[-1], ttft=histogram(*total)))
    parts = [rates(a, b) for a, b in pairwise(samples)]
    whole = rates(samples[0], samples[-1])
    assert whole.requests == sum(p.requests for p in parts)
    added = merged(p.ttft for p in parts)
    assert added is not None
    assert whole.ttft is not None
    assert added.buckets == whole.ttft.buckets


def test_a_track_is_bounded_and_knows_its_windows() -> None:
    track = Track()
    assert (track.latest, track.window(60), track.since_ready()) == (None, None, None)
    for at in range(0, 1000, 5):
        track.add(EngineSample(float(at), requests=float(at)), in_service=at >= 100)
    assert track.samples[0].at >= 995 - KEPT_SECONDS - 5
    window, ready = track.window(60), track.since_ready()
    assert window is not None
    assert (window.seconds, window.requests) == (60, 60)
    assert ready is not None
    assert ready.requests == 895
    track.add(EngineSample(10.0), in_service=True)
    assert track.latest is not None
    assert track.latest.at == 995.0, "no way back"
