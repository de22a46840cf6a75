"""Whose steps the operator looks up, when it begins and when it ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from drumline.api.progress import LogPreset, Progress, ProgressSource, ScrapeSpec
from drumline.api.report import ReportSource
from drumline.core.gang.types import PodTimes
from drumline.core.training.observation import Settings
from drumline.runtime import progress_watch
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.progress_watch import PATIENCE_SECONDS, ProgressWatch
from drumline.runtime.records import JobRecord
from drumline.runtime.workqueue import WorkQueue
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import CATALOG, NOW, UID


class Keeper:
    """Knows who speaks."""

    def __init__(self):
        self.source = None

    def source_of(self, uid, attempt):
        return self.source

    def position_of(self, report):
        return 0


class Stage:
    def __init__(self, progress, *, logs=True):
        self.now = NOW + 1
        clocks = Clocks(lambda: self.now, lambda: self.now)
        self.world = Controller(None, WorkQueue(), Catalogue(CATALOG), Settings(), clocks).world
        self.keeper = Keeper()
        self.watch = ProgressWatch(None, self.world, self.keeper, lambda: self.now, logs=logs)
        observation = jobs.running()
        spec = observation.spec.model_copy(update={"progress": progress})
        started = PodTimes(started_at=NOW - 1)
        self.observation = jobs.with_pods(
            replace(observation, spec=spec), lambda p: replace(p, times=started)
        )
        self.show()

    def show(self):
        o = self.observation
        record = JobRecord(o.job, o.spec, o.errors, o.shape, o.roster, o.status, o.catalog)
        self.world.jobs.store.put(record.key, record)
        for pod in o.pods.values():
            self.world.pods.store.put((pod.namespace, pod.name), pod)

    def targets(self):
        return list(self.watch._targets(self.world.jobs.store.values()))


LOG = Progress(source=ProgressSource.LOG)
SCRAPE = Progress(source=ProgressSource.SCRAPE, scrape=ScrapeSpec(port=9090, step="s"))


def test_a_log_is_followed_where_the_job_asks_for_it():
    (target,) = Stage(LOG).targets()
    assert (target.source, target.read_pod, target.container) == (ReportSource.LOG, "job-1-0-0", "train")
    assert target.reporter.uid == "uid-1-0"
    assert target.key == (UID, 1, 0)
    assert target.started_at == NOW - 1
    assert Stage(LOG, logs=False).targets() == []


def test_metrics_are_scraped_whether_or_not_logs_may_be_read():
    (target,) = Stage(SCRAPE, logs=False).targets()
    assert (target.source, target.address) == (ReportSource.SCRAPE, "10.0.0.1")


@pytest.mark.parametrize("source", [ProgressSource.NONE, ProgressSource.REPORT, ProgressSource.LAUNCHER])
def test_nothing_is_looked_up_where_workers_speak_or_nobody_is_to(source):
    assert Stage(Progress(source=source)).targets() == []


def test_with_auto_workers_are_waited_for():
    stage = Stage(Progress())
    assert stage.targets() == []
    stage.now += PATIENCE_SECONDS
    assert len(stage.targets()) == 1
    stage.keeper.source = ReportSource.LOG
    assert len(stage.targets()) == 1
    stage.keeper.source = ReportSource.LAUNCHER
    assert stage.targets() == []


def test_some_programs_speak_on_their_last_rank():
    (target,) = Stage(Progress(source=ProgressSource.LOG, preset=LogPreset.MEGATRON)).targets()
    assert target.read_pod == "job-1-1-1"
    assert target.reporter.pod == "job-1-0-0"


def test_a_pod_that_has_not_started_or_is_going_is_no_target():
    stage = Stage(LOG)
    stage.observation = jobs.with_pod(stage.observation, 0, lambda p: replace(p, deleting=True))
    stage.show()
    assert stage.targets() == []
    stage.observation = jobs.with_pod(
        stage.observation, 0, lambda p: replace(p, deleting=False, times=PodTimes())
    )
    stage.show()
    assert stage.targets() == []


async def test_it_begins_ends_and_is_bounded(monkeypatch):
    begun = []

    async def follow(client, told, patterns):
        begun.append(told.target.key)
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(progress_watch, "follow_log", follow)
    stage = Stage(LOG)
    stage.watch._look(None)
    await asyncio.sleep(0)
    stage.watch._look(None)
    await asyncio.sleep(0)
    assert begun == [(UID, 1, 0)]
    stage.observation = replace(
        stage.observation, status=stage.observation.status.model_copy(update={"placement": None})
    )
    stage.show()
    stage.watch._look(None)
    assert stage.watch._running == {}
    monkeypatch.setattr(progress_watch, "MAX_WATCHED", 0)
    other = Stage(LOG)
    other.watch._look(None)
    assert other.watch._running == {}


async def test_a_log_that_ended_is_asked_for_again_later(monkeypatch, caplog):
    async def broken(client, told, patterns):
        raise RuntimeError("odd")

    monkeypatch.setattr(progress_watch, "follow_log", broken)
    stage = Stage(LOG)
    stage.watch._look(None)
    await asyncio.sleep(0)
    stage.watch._look(None)
    assert stage.watch._running == {}
    assert "odd" in caplog.text
    stage.now += progress_watch.AGAIN_SECONDS
    stage.watch._look(None)
    assert len(stage.watch._running) == 1
    await stage.watch._stop(list(stage.watch._running))
