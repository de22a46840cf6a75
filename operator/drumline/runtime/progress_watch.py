"""Looks after what the operator looks up itself: whose log is followed, whose metrics are scraped.

A log is followed where the job asks for it, and with `auto` once a gang has been up for `PATIENCE_SECONDS`
without a word of its steps from its workers. It ends when the attempt does, or when workers begin to speak.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import aiohttp

from drumline.api.meta import ROLE_WORKER
from drumline.api.progress import ProgressSource
from drumline.api.reasons import ConditionType
from drumline.api.report import JobRef, ReportSource
from drumline.core.gang.clock import unix
from drumline.core.gang.types import Pod
from drumline.core.training import conditions
from drumline.runtime.http import Client
from drumline.runtime.ingest.verdicts import Reporter
from drumline.runtime.ledger_keeper import LedgerKeeper
from drumline.runtime.progress_log import follow_log
from drumline.runtime.progress_scrape import scrape
from drumline.runtime.progress_target import Key, Target, Told
from drumline.runtime.records import JobRecord
from drumline.runtime.world import World
from drumline.worker.presets import PRESETS

LOOK_SECONDS: Final = 2.0
PATIENCE_SECONDS: Final = 30.0
AGAIN_SECONDS: Final = 30.0  # before a log that ended, or could not be read, is asked for again
MAX_WATCHED: Final = 200  # logs and endpoints at once
MAX_PATTERNS: Final = 50  # of them with a pattern of the user's: each has processes of its own
PATTERN_THREADS: Final = 8  # that wait for these; slow ones wait for each other, and nothing else for them

logger = logging.getLogger(__name__)


class ProgressWatch:
    """Runs on the leader. `now` gives Unix seconds; `logs`: whether logs may be followed at all."""

    def __init__(
        self, client: Client, world: World, keeper: LedgerKeeper, now: Callable[[], float], *, logs: bool
    ) -> None:
        self._client = client
        self._world = world
        self._keeper = keeper
        self._now = now
        self._logs = logs
        self._running: dict[Key, tuple[Told, asyncio.Task[None]]] = {}
        self._not_before: dict[Key, float] = {}
        self._patterns = ThreadPoolExecutor(PATTERN_THREADS, thread_name_prefix="pattern")

    def flush(self, uid: str) -> None:
        """Tell now what was read of a job: its attempt is about to end."""
        for key, (told, _) in self._running.items():
            if key[0] == uid:
                told.flush()

    async def run(self) -> None:
        """For as long as this replica leads."""
        connector = aiohttp.TCPConnector(limit=MAX_WATCHED, force_close=True)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            try:
                while True:
                    self._look_safely(session)
                    await asyncio.sleep(LOOK_SECONDS)
            finally:
                await self._stop(list(self._running))
                self._patterns.shutdown(wait=False, cancel_futures=True)

    def _look_safely(self, session: aiohttp.ClientSession) -> None:
        """One odd job keeps no other from being looked up."""
        try:
            self._look(session)
        except Exception:
            logger.exception("the jobs whose steps are looked up cannot be told")

    def _look(self, session: aiohttp.ClientSession) -> None:
        """Start what is wanted, end what is not any more."""
        wanted = {t.key: t for t in self._targets(self._world.jobs.store.values())}
        now = self._now()
        for key, (told, task) in list(self._running.items()):
            if task.done():
                self._ended(key, told.target, task)
            elif key not in wanted:
                task.cancel()
                del self._running[key]
        for key in self._not_before.keys() - wanted.keys():
            del self._not_before[key]
        for key, target in wanted.items():
            if key not in self._running and now >= self._not_before.get(key, 0.0) and self._has_room(target):
                told = Told(target, self._keeper, self._now)
                self._running[key] = told, asyncio.create_task(self._watch(session, told))

    def _has_room(self, target: Target) -> bool:
        patterned = sum(_has_pattern(told.target) for told, _ in self._running.values())
        return len(self._running) < MAX_WATCHED and not (_has_pattern(target) and patterned >= MAX_PATTERNS)

    async def _watch(self, session: aiohttp.ClientSession, told: Told) -> None:
        if told.target.source is ReportSource.SCRAPE:
            await scrape(session, told, self._now)
        else:
            await follow_log(self._client, told, self._patterns)

    def _ended(self, key: Key, target: Target, task: asyncio.Task[None]) -> None:
        del self._running[key]
        self._not_before[key] = self._now() + AGAIN_SECONDS
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("steps of %s/%s cannot be read", *_name(target), exc_info=error)

    async def _stop(self, keys: Collection[Key]) -> None:
        tasks = [self._running.pop(key)[1] for key in keys]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _targets(self, records: Collection[JobRecord]) -> Iterator[Target]:
        for record in records:
            source = self._source(record)
            if source is not None:
                yield from self._target(record, source)

    def _source(self, record: JobRecord) -> ReportSource | None:
        """How this job's steps are to be looked up now; None = they are not."""
        if record.spec is None or record.status.placement is None or conditions.is_finished(record.status):
            return None
        wanted = record.spec.progress.source
        if wanted is ProgressSource.SCRAPE:
            return ReportSource.SCRAPE
        if not self._logs or wanted not in (ProgressSource.LOG, ProgressSource.AUTO):
            return None
        if wanted is ProgressSource.AUTO and not self._is_silent(record):
            return None
        return ReportSource.LOG

    def _is_silent(self, record: JobRecord) -> bool:
        """Whether a gang has been up for a while, and its workers have said nothing of its steps."""
        ready = conditions.find(record.status, ConditionType.PODS_READY)
        if ready is None or ready.status != "True":
            return False
        known = self._keeper.source_of(record.meta.uid, record.status.attempt)
        patient = self._now() - unix(ready.last_transition_time) < PATIENCE_SECONDS
        return known is ReportSource.LOG or (known is None and not patient)

    def _target(self, record: JobRecord, source: ReportSource) -> Iterator[Target]:
        status, spec, roster = record.status, record.spec, record.roster
        if spec is None or roster is None or not status.attempts or status.attempts[-1].finished_at:
            return
        pod = self._pod(record, 0)
        progress = spec.progress
        preset = PRESETS.get(progress.preset.value)
        last = source is ReportSource.LOG and preset is not None and preset.last_rank
        read = self._pod(record, roster.workers - 1) if last else pod
        if pod is None or read is None or (pod.terminal and source is ReportSource.SCRAPE):
            return
        yield Target(
            job=JobRef(namespace=record.meta.namespace, name=record.meta.name, uid=record.meta.uid),
            attempt=status.attempt,
            epoch=status.epoch,
            source=source,
            reporter=Reporter(pod.namespace, pod.name, pod.uid),
            read_pod=read.name,
            container=spec.template["spec"]["containers"][0]["name"],
            address=pod.ips[0] if pod.ips else "",
            started_at=pod.times.started_at,
            progress=progress,
            devices=record.shape.chips if record.shape is not None else 0,
            step=status.goodput.step if status.goodput is not None else -1,
        )

    def _pod(self, record: JobRecord, index: int) -> Pod | None:
        """A worker of the running attempt whose containers have started; a log is read to its end."""
        if record.roster is None:
            return None
        name = record.roster.name_of(index, record.status.attempt)
        pod = self._world.pods.store.get(record.meta.namespace, name)
        ours = pod is not None and pod.member is not None and pod.member.job_uid == record.meta.uid
        if pod is None or not ours or pod.member is None or pod.member.role != ROLE_WORKER:
            return None
        return pod if pod.times.started_at and pod.ips and not pod.deleting else None


def _has_pattern(target: Target) -> bool:
    progress = target.progress
    asked = progress.pattern is not None or progress.commit_pattern is not None
    return target.source is ReportSource.LOG and asked


def _name(target: Target) -> tuple[str, str]:
    return target.job.namespace, target.job.name
