"""A worker's identity, a clock that a test turns, and a sender that keeps what it was given."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drumline.worker.client import Reporter
from drumline.worker.identity import Identity, identity
from drumline.worker.transport import Answer

ENVIRONMENT = {
    "DRUMLINE_JOB": "llama",
    "DRUMLINE_JOB_NAMESPACE": "research",
    "DRUMLINE_JOB_UID": "0a1b",
    "DRUMLINE_ATTEMPT": "3",
    "DRUMLINE_EPOCH": "0",
    "DRUMLINE_SLICE": "0",
    "DRUMLINE_WORKER": "0",
    "DRUMLINE_REPORT_URL": "https://ingest.drumline.svc:8443/v1/report",
}


class Clock:
    """Milliseconds."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


class Memory:
    """Keeps reports and answers from a list; "durable up to 0" when that is empty."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.answers: list[Answer] = []

    def send(self, body: bytes) -> Answer:
        self.reports.append(json.loads(body))
        return self.answers.pop(0) if self.answers else Answer(200, {"durableMs": 0})

    def close(self) -> None:
        pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def who() -> Identity:
    return identity(ENVIRONMENT)


@pytest.fixture
def reporter(who: Identity, memory: Memory, clock: Clock) -> Reporter:
    return Reporter(who, memory, clock)
