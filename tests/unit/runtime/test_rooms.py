"""What elastic jobs are told: the room there is, looked for seldom, and the latest checkpoint."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drumline.api.goodput import GoodputStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.types import Node
from drumline.core.training.observation import Settings
from drumline.core.training.policies.admission import request_of
from drumline.core.training.view import View
from drumline.runtime import rooms
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.queue_book import QueueBook
from drumline.runtime.rooms import PAUSE_SECONDS
from drumline.runtime.workqueue import WorkQueue
from tests.unit.core.training import elastic_jobs, jobs
from tests.unit.core.training.jobs import CATALOG, NOW


class Stage:
    """A gang that runs with two of four slices on nodes of one pod each, and a clock."""

    def __init__(self, monkeypatch):
        self.now = NOW
        self.looks = 0
        clocks = Clocks(lambda: self.now, lambda: self.now)
        self.controller = Controller(None, WorkQueue(), Catalogue(CATALOG), Settings(), clocks)
        self.job = elastic_jobs.running(2)
        self.nodes(2)
        request = request_of(View(self.job, NOW, self.job.status))
        self.controller.world.capacity.reserve(request, self.job.placement)
        monkeypatch.setattr(rooms, "most_slices", self.counted)

    def counted(self, *args):
        self.looks += 1
        return most_slices(*args)

    def nodes(self, count):
        for i in range(count):
            node = Node(f"node-{i}", allocatable={"cpu": 8000, "pods": 1})
            self.controller.world.capacity.set_node(node)

    def room(self, seconds=0.0):
        self.now += seconds
        return self.controller.rooms.told(self.job).room


most_slices = rooms.most_slices


@pytest.fixture
def stage(monkeypatch):
    return Stage(monkeypatch)


def test_without_room_one_comparison_is_enough(stage, monkeypatch):
    monkeypatch.setattr(QueueBook, "slices", None)  # its queue is not asked
    assert stage.room() <= 2
    assert stage.looks == 0


def test_room_is_looked_for_when_something_has_changed_and_not_at_once(stage):
    stage.room()
    stage.nodes(3)
    assert stage.room(1) <= 2
    assert stage.room(PAUSE_SECONDS) == 3
    assert stage.room(PAUSE_SECONDS) == 3
    assert stage.looks == 1, "nothing has changed since"
    stage.nodes(6)
    assert stage.room(PAUSE_SECONDS) == 4
    assert stage.looks == 2


def test_what_is_kept_for_the_head_of_the_queue_is_no_room(stage):
    stage.nodes(4)
    stage.controller.admitter._targets = {"head": frozenset({"node-2"})}
    assert stage.room() == 3
    assert stage.controller.world.capacity.now.withheld == frozenset()


def test_another_attempt_is_looked_at_anew(stage):
    stage.room()
    stage.nodes(4)
    assert stage.room() <= 2
    status = stage.job.status.model_copy(update={"attempt": 2})
    stage.job = replace(stage.job, status=status)
    assert stage.room() == 4


def test_a_gang_that_has_all_it_wants_is_not_looked_at(stage):
    stage.nodes(8)
    stage.job = elastic_jobs.running(4)
    assert stage.room() == 0
    stage.job = jobs.running()
    assert stage.controller.rooms.told(stage.job) is stage.job
    assert stage.looks == 0


def test_the_latest_checkpoint_survives_the_operator(stage):
    assert stage.controller.rooms.told(stage.job).checkpoint_at is None
    times = {"at": rfc3339_millis(NOW), "started_at": rfc3339_millis(NOW)}
    written = GoodputStatus(last_checkpoint_at=rfc3339_millis(NOW - 60), **times)
    stage.job = replace(stage.job, status=stage.job.status.model_copy(update={"goodput": written}))
    assert stage.controller.rooms.told(stage.job).checkpoint_at == NOW - 60
