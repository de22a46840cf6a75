"""Steps read from a program's metrics, which may be large, slow or wrong."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from drumline.api.progress import Progress, ProgressSource, ScrapeSpec
from drumline.api.report import ReportSource
from drumline.runtime import progress_scrape
from drumline.runtime.progress_scrape import MAX_BYTES, MAX_NAMED, Scraped, Seen, fetch, look, scrape
from tests.unit.runtime.test_progress_log import START, TARGET, Ledgers, told

SPEC = ScrapeSpec(port=9090, step="train_step", tokens="tokens_total", committed_step="saved_step")
TEXT = """\
# HELP train_step The step.
# TYPE train_step gauge
train_step{host="a"} 7
train_step_seconds 3
# TYPE tokens_total counter
tokens_total{loader="0"} 100
tokens_total{loader="1"} 50
saved_step 5
other{ 1
"""


def target(spec: ScrapeSpec = SPEC):
    progress = Progress(source=ProgressSource.SCRAPE, scrape=spec)
    return replace(TARGET, source=ReportSource.SCRAPE, progress=progress)


def test_the_named_metrics_are_read_and_no_others():
    assert look(TEXT, SPEC) == Seen(step=7, tokens=150, committed_step=5)
    assert look("", SPEC) == Seen(step=None)
    assert look("train_step NaN\ntokens_total -1\n", SPEC) == Seen(step=None)


def test_a_named_metric_that_is_malformed_is_an_error():
    with pytest.raises(ValueError):
        look("train_step{ 7\n", SPEC)


@pytest.mark.parametrize(
    "text",
    [
        "".join(f'train_step{{a="{i}"}} 1\n' for i in range(MAX_NAMED // 16)),
        "train_step{" + ",".join(f'a{i}="x"' for i in range(MAX_NAMED // 8)) + "} 1\n",
    ],
)
def test_so_much_of_a_metric_that_parsing_would_take_long_is_not_parsed(text):
    with pytest.raises(ValueError, match="more than"):
        look(text, SPEC)
    assert look("#" * MAX_NAMED + "\ntrain_step 1\n", SPEC) == Seen(step=1)


def test_looks_become_steps():
    ledgers = Ledgers()
    teller = told(ledgers, target())
    scraped = Scraped(teller)
    scraped.take(Seen(step=None), START + 10)
    scraped.take(Seen(4, 400), START + 20)
    scraped.take(Seen(4, 400), START + 30)
    scraped.take(Seen(14, 1400, 9), START + 40)
    teller.flush()
    spans = [(s.step, s.count, s.start_ms, s.duration_ms, s.tokens) for s in ledgers.reports[0].spans]
    assert spans == [(4, 4, 0, 20_000, 400), (14, 10, 20_000, 20_000, 1000)]
    assert [(c.step, c.at_ms) for c in ledgers.reports[0].commits] == [(9, 40_000)]


def test_after_a_restart_it_goes_on_from_what_is_on_record():
    ledgers = Ledgers(position=20_000)
    teller = told(ledgers, replace(target(), step=4))
    Scraped(teller).take(Seen(14, 1400), START + 40)
    teller.flush()
    (span,) = ledgers.reports[0].spans
    assert (span.step, span.count, span.start_ms, span.tokens) == (14, 10, 20_000, 0)


def test_a_step_that_goes_back_is_a_new_beginning():
    ledgers = Ledgers()
    teller = told(ledgers, target())
    scraped = Scraped(teller)
    scraped.take(Seen(50), START + 10)
    scraped.take(Seen(40), START + 20)
    scraped.take(Seen(45), START + 30)
    teller.flush()
    assert [s.step for s in ledgers.reports[0].spans] == [50, 45]
    assert ledgers.reports[0].resumed_step == 40


@pytest.fixture
async def endpoint():
    """Answers as told at /metrics; elsewhere it leads astray."""
    answers = {"text": TEXT}

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/elsewhere":
            raise web.HTTPFound("/metrics")
        if "delay" in answers:
            await asyncio.sleep(answers["delay"])
        return web.Response(text=answers["text"])

    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    async with TestServer(application) as server:
        yield SPEC.model_copy(update={"port": server.port}), answers


async def test_an_endpoint_is_scraped(endpoint):
    spec, _ = endpoint
    ledgers = Ledgers()
    teller = told(ledgers, target(spec))
    async with aiohttp.ClientSession() as session:
        task = asyncio.create_task(scrape(session, teller, lambda: START + 10))
        async with asyncio.timeout(10):
            while not ledgers.reports:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert ledgers.reports[0].spans[0].step == 7
    assert ledgers.reports[0].source is ReportSource.SCRAPE
    assert ledgers.heard == [teller.target.job.uid]


async def test_what_is_too_large_too_slow_or_elsewhere_is_not_read(endpoint, monkeypatch):
    spec, answers = endpoint
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ValueError, match="answered 302"):
            await fetch(session, "127.0.0.1", spec.model_copy(update={"path": "/elsewhere"}))
        answers["text"] = "x" * (MAX_BYTES + 1)
        with pytest.raises(ValueError, match="more than"):
            await fetch(session, "127.0.0.1", spec)
        monkeypatch.setattr(progress_scrape, "TIMEOUT_SECONDS", 0.05)
        answers |= {"text": TEXT, "delay": 5}
        with pytest.raises(TimeoutError):
            await fetch(session, "127.0.0.1", spec)
