"""Core and executor in virtual time against the model of the API server; `make chaos` plays many more seeds."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from e2e.chaos import record
from e2e.chaos.model import story
from e2e.chaos.model.client import ModelClient
from e2e.chaos.model.loop import run
from e2e.chaos.model.server import Server
from e2e.chaos.scripts import End, Form, Kind, Script
from e2e.chaos.services import Role, Service
from e2e.chaos.weather import Weather

RECORDED = Path(__file__).parents[2] / "chaos" / "recorded" / "answers.json"
SEEDS = 20


@pytest.mark.parametrize("first", range(1, SEEDS + 1, 5))
def test_whatever_strikes_every_job_ends_as_it_should(first: int) -> None:
    for seed in range(first, first + 5):
        played = story.play(seed)
        replay = f"python -m e2e.chaos --model --seed {seed} --seeds 1"
        assert not played.judge.found, "\n".join([replay, *played.log, *played.judge.found])
        assert played.judge.changes > 0


def _script(kind: Kind, form: Form, **more: Any) -> Script:
    given = {"actions": (), "end": End.SUCCEEDED, "restarts": 100, "run_seconds": 20, **more}
    return Script("job-0", kind, size=2, chips=8, priority="", begins=0.0, form=form, **given)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (_script(Kind.STUMBLES, Form.IN_PLACE), "RestartingInPlace"),
        (_script(Kind.WORKS, Form.SPARED, actions=((10.0, "lose"),), run_seconds=60), "SparePromoted"),
        (_script(Kind.WORKS, Form.ELASTIC, slices=2, actions=((4.0, "slices 3"),)), "Resized"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_jobs_recover_in_ways_of_their_own(script: Script, reason: str) -> None:
    played = story.play(1, [script])
    assert not played.judge.found
    assert reason in {event["reason"] for event in played.server.all("events")}


ROLES = (Role("prefill", 2, 1, 1, False, False), Role("decode", 2, 2, 1, True, True))
CHANGES = ((15.0, "roll 1"), (20.0, "scale decode 3"), (30.0, "scale prefill 1"), (40.0, "roll 2"))


def test_services_are_rolled_and_scaled_and_those_of_a_deleted_one_go() -> None:
    there = Service("chat", ROLES, 1, 0, 0.0, CHANGES)
    gone = Service("gone", ROLES[:1], 1, 0, 0.0, ((20.0, "delete"),))
    played = story.play(1, [], [there, gone])
    assert not played.judge.found
    said = {(event["involvedObject"]["name"], event["reason"]) for event in played.server.all("events")}
    assert {("chat", "GroupInService"), ("gone", "GroupInService")} <= said
    (found,) = played.server.all("inferenceservices")
    assert {r["name"]: r["ready"] for r in found["status"]["roles"]} == {"prefill": 1, "decode": 3}
    assert found["status"]["revisionCount"] == 3


def test_the_model_answers_as_a_real_api_server_was_recorded_to() -> None:
    async def ask() -> list[record.Answer]:
        client = ModelClient(Server(lambda: story.EPOCH), Weather(), random.Random(0))
        return await record.interview(client.request)

    assert json.loads(record.lines(run(ask()))) == json.loads(RECORDED.read_text())


def test_a_seed_plays_the_same_story_again() -> None:
    first, second = story.play(7), story.play(7)
    assert (first.log, first.judge.changes) == (second.log, second.judge.changes)
