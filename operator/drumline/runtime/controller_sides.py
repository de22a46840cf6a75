"""What the controller of TrainingJobs works with and knows only by what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from drumline.api.meta import API_VERSION, TRAINING_JOB, TRAINING_JOBS
from drumline.core.gang.plan import Create
from drumline.core.gang.types import GangRequest
from drumline.runtime.executor import Owner
from drumline.runtime.preflight import Sample
from drumline.runtime.records import JobRecord


class Authority(Protocol):
    """Gives a namespace what its workers need to trust the report ingest."""

    async def ensure(self, namespace: str) -> None:
        """Before pods are created there; never raises for its own sake."""


class Beside(Protocol):
    """Who keeps the gangs in the admission queue that are no TrainingJob's."""

    def take_over(self) -> None:
        """Hold what an earlier leader placed: nothing was granted yet."""

    def answered(self, uid: str) -> None:
        """There is something new to be said of that gang."""

    def samples(self, request: GangRequest) -> Sequence[Sample]:
        """As `Preflight` wants them; KeyError when its owner is gone."""

    def objects(self, request: GangRequest) -> Sequence[Create]:
        """What the gang's backend wants to have before its pods; KeyError when its owner is gone."""


def owner_of(record: JobRecord) -> Owner:
    """The job as what plans are applied to."""
    meta = record.meta
    return Owner(
        API_VERSION, TRAINING_JOB, TRAINING_JOBS, meta.namespace, meta.name, meta.uid, meta.resource_version
    )
