"""Steps read from a log that an HTTP server serves as the API server does: from the beginning, and after breaks."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from drumline.api.progress import Progress
from drumline.api.report import JobRef, Receipt, ReportSource, SpanKind
from drumline.runtime import progress_log
from drumline.runtime.ingest.verdicts import Accepted, Reporter, Stale
from drumline.runtime.progress_log import follow_log, read_time
from drumline.runtime.progress_target import Target, Told

START = 1_795_262_400.0
MAXTEXT = "completed step: {step}, seconds: 1.000, TFLOP/s/device: 2.0, Tokens/s/device: 100.0, total_weights: 8, loss: 6.0"

TARGET = Target(
    job=JobRef(namespace="ns", name="job", uid="u"),
    attempt=2,
    epoch=0,
    source=ReportSource.LOG,
    reporter=Reporter("ns", "job-2-0-0", "pod-uid"),
    read_pod="job-2-0-0",
    container="train",
    address="127.0.0.1",
    started_at=START,
    progress=Progress(),
    devices=4,
    step=-1,
)


class Ledgers:
    """Takes every report, and has on record what it was told to have."""

    def __init__(self, position: int = 0) -> None:
        self.position = position
        self.reports = []
        self.verdict = None
        self.heard = []

    def alive(self, uid):
        self.heard.append(uid)

    def deliver(self, report, reporter):
        self.reports.append(report)
        return self.verdict or Accepted(Receipt(durable_ms=0))

    def position_of(self, report):
        return self.position

    def steps(self):
        """(step, start, duration) of the steps that came last."""
        spans = self.reports[-1].spans
        return [(s.step, s.start_ms, s.duration_ms) for s in spans if s.kind is SpanKind.STEP]


@pytest.fixture
def patterns():
    with ThreadPoolExecutor(1, thread_name_prefix="pattern") as pool:
        yield pool


def line(seconds: float, text: str) -> bytes:
    moment = datetime.fromtimestamp(START + seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f").encode() + b"789Z " + text.encode() + b"\n"


def step_line(seconds: float, step: int) -> bytes:
    return line(seconds, MAXTEXT.format(step=step))


def told(ledgers: Ledgers, target: Target = TARGET, at: float = 60.0) -> Told:
    return Told(target, ledgers, lambda: START + at)


async def test_a_log_is_read_to_its_end_and_told(served, client, patterns):
    served.stream(
        line(1, "hello"), step_line(5, 0), step_line(6, 1)[:40], step_line(6, 1)[40:], step_line(7, 2)
    )
    ledgers = Ledgers()
    await follow_log(client, told(ledgers), patterns)
    assert ledgers.steps() == [(0, 0, 5000), (1, 5000, 1000), (2, 6000, 1000)]
    report = ledgers.reports[-1]
    assert (report.attempt, report.source, report.origin) == (2, ReportSource.LOG, "log-pod-uid")
    assert report.sent_ms == 60_000
    assert report.spans[-1].tokens == 400
    method, path, _ = served.requests[0]
    asked = urlsplit(path)
    assert (method, asked.path) == ("GET", "/api/v1/namespaces/ns/pods/job-2-0-0/log")
    assert parse_qs(asked.query) == {"follow": ["true"], "timestamps": ["true"], "container": ["train"]}


async def test_an_open_log_that_says_nothing_is_a_sign_of_life(served, client, patterns, monkeypatch):
    monkeypatch.setattr(progress_log, "FLUSH_SECONDS", 0.01)
    quiet: list[int] = []
    sleep = asyncio.sleep

    async def slept(seconds):
        await sleep(0.1 if seconds == progress_log.RETRY_SECONDS else seconds)
        if seconds == progress_log.RETRY_SECONDS:
            quiet.append(len(ledgers.heard))

    monkeypatch.setattr(progress_log.asyncio, "sleep", slept)
    served.fail(404, "NotFound")
    served.stream(step_line(5, 0), forever=True)
    ledgers = Ledgers()
    following = asyncio.create_task(follow_log(client, told(ledgers), patterns))
    async with asyncio.timeout(60):
        while not ledgers.heard:
            await asyncio.sleep(0.01)
    assert quiet == [0], "nothing could be read"
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert set(ledgers.heard) == {TARGET.job.uid}


async def test_after_a_break_it_goes_on_where_it_was(served, client, patterns, monkeypatch):
    monkeypatch.setattr(progress_log, "RETRY_SECONDS", 0)
    served.fail(404, "NotFound")
    served.stream(step_line(5, 0), step_line(6, 1))
    ledgers = Ledgers()
    await follow_log(client, told(ledgers), patterns)
    assert ledgers.steps() == [(0, 0, 5000), (1, 5000, 1000)]


async def test_after_a_restart_only_what_is_new_is_told(served, client, patterns):
    served.stream(step_line(5, 3), step_line(6, 4), step_line(7.25, 5))
    ledgers = Ledgers(position=6000)
    await follow_log(client, told(ledgers, replace(TARGET, step=4)), patterns)
    assert ledgers.steps() == [(5, 6000, 1250)]
    assert (
        "sinceTime=" + datetime.fromtimestamp(START + 4, UTC).strftime("%Y-%m-%dT%H%%3A%M%%3A%SZ")
        in (served.requests[0][1])
    )


async def test_a_pattern_of_the_users_counts_and_a_checkpoint_is_told(served, client, patterns):
    progress = Progress(
        pattern=r"it (?P<step>\d+) tok (?P<tokens>\d+)", commit_pattern=r"saved (?P<step>\d+)"
    )
    served.stream(line(1, "it 1 tok 10"), line(2, "it 2 tok 20"), line(3, "saved 2"))
    ledgers = Ledgers()
    await follow_log(client, told(ledgers, replace(TARGET, progress=progress)), patterns)
    assert [s.tokens for s in ledgers.reports[-1].spans] == [10, 20]
    assert [(c.step, c.at_ms) for c in ledgers.reports[-1].commits] == [(2, 3000)]


async def test_users_patterns_wait_in_threads_of_their_own(served, client, patterns, monkeypatch):
    threads = []
    search = progress_log.GuardedSearch.__call__

    def noted(self, text):
        threads.append(threading.current_thread().name)
        return search(self, text)

    monkeypatch.setattr(progress_log.GuardedSearch, "__call__", noted)
    served.stream(line(1, "it 1"), line(2, "it 2"))
    target = replace(TARGET, progress=Progress(pattern=r"it (?P<step>\d+)"))
    await follow_log(client, told(Ledgers(), target), patterns)
    assert threads == ["pattern_0"] * 2


async def test_a_line_without_end_is_cut(served, client, patterns):
    served.stream(line(1, "x" * 100_000), step_line(5, 0), line(6, "y" * 100_000), step_line(7, 1))
    ledgers = Ledgers()
    await follow_log(client, told(ledgers), patterns)
    assert [step for step, _, _ in ledgers.steps()] == [0, 1]


async def test_many_lines_leave_others_their_turn(served, client, patterns, monkeypatch):
    pauses = []
    sleep = asyncio.sleep

    async def slept(seconds):
        pauses.append(seconds)
        await sleep(0 if seconds == progress_log.PAUSE_SECONDS else seconds)

    monkeypatch.setattr(progress_log.asyncio, "sleep", slept)
    served.stream(b"".join(line(i, "x") for i in range(2 * progress_log.BATCH)), step_line(500, 0))
    ledgers = Ledgers()
    await follow_log(client, told(ledgers), patterns)
    assert pauses.count(progress_log.PAUSE_SECONDS) == 2
    assert [step for step, _, _ in ledgers.steps()] == [0]


async def test_who_says_nothing_reports_nothing(served, client, patterns):
    served.stream(line(1, "nothing of interest"), b"not even a time\n", b"2026 odd\n")
    ledgers = Ledgers()
    await follow_log(client, told(ledgers), patterns)
    assert ledgers.reports == []


async def test_an_attempt_that_is_over_is_not_followed(served, client, patterns, monkeypatch):
    monkeypatch.setattr(progress_log, "FLUSH_SECONDS", 0.01)
    served.stream(step_line(5, 0), forever=True)
    ledgers = Ledgers()
    ledgers.verdict = Stale()
    following = told(ledgers)
    task = asyncio.create_task(follow_log(client, following, patterns))
    async with asyncio.timeout(10):
        while not following.over:
            await asyncio.sleep(0.01)
    assert len(ledgers.reports) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        (b"2026-11-21T12:00:00Z", START),
        (b"2026-11-21T12:00:00.5Z", START + 0.5),
        (b"2026-11-21T12:00:00.123456789Z", START + 0.123456),
        (b"2026-11-21T14:00:00.25+02:00", START + 0.25),
        (b"", None),
        (b"\xff\xfe", None),
    ],
)
def test_times_of_lines(stamp, seconds):
    assert read_time(stamp) == pytest.approx(seconds)


def test_what_is_confirmed_is_not_told_again():
    ledgers = Ledgers()
    following = told(ledgers)
    for step in range(3):
        following.timeline.step(step, 1000 * (step + 1))
    ledgers.verdict = Accepted(Receipt(durable_ms=2000))
    following.flush()
    following.flush()
    assert [len(r.spans) for r in ledgers.reports] == [3, 1]
