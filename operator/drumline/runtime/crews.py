"""What launchers say of the processes of each gang, and what each gang was told.

A muster is kept by the pod's place in the gang, which its labels tell and not the muster. Of one epoch a launcher
says Held, Running, Ended, in this order, so one that was overtaken on its way is known by going back, and left
out. A job is looked at when something changed that a decision may need: at once when the first or the last of its
processes came so far, since one begins and the other ends what all wait for, or when a launcher began anew; else
soon, together with what more changes. All of this is memory: after a change of leader the next musters bring it back within seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from drumline.api.meta import ROLE_WORKER
from drumline.api.orders import Muster, Orders, ProcessState
from drumline.core.gang.crew import Process
from drumline.core.training import conditions
from drumline.runtime.ingest.binding import judge_binding
from drumline.runtime.ingest.verdicts import Forbidden, Heard, MusterVerdict, Reporter, Stale, Told
from drumline.runtime.records import JobRecord
from drumline.runtime.world import World

MOST_TEXT: Final = 64 * 2**20  # characters of words and stacks in all; what comes then is cut
SHORT: Final = 512  # characters, to which
_NOBODY: Final[Mapping[int, Process]] = MappingProxyType({})
_ORDER: Final = {ProcessState.HELD: 0, ProcessState.RUNNING: 1, ProcessState.ENDED: 2}

Wake = Callable[..., None]  # (key, *, urgent)


@dataclass(slots=True)
class _Crew:
    """The processes of one attempt. `stages`: how many are in which epoch and state."""

    attempt: int
    processes: dict[int, Process] = field(default_factory=dict)
    stages: Counter[tuple[int, ProcessState]] = field(default_factory=Counter)
    orders: Orders | None = None


class Crews:
    """Crews by job uid. `wake(key, urgent=...)` has a job looked at; `now` gives Unix seconds."""

    def __init__(self, world: World, wake: Wake, now: Callable[[], float]) -> None:
        self._world = world
        self._wake = wake
        self._now = now
        self._crews: dict[str, _Crew] = {}
        self._text = 0  # characters kept
        self.outlet: Callable[[Told], None] = _nobody

    def hear(self, muster: Muster, reporter: Reporter) -> MusterVerdict:
        """Take a muster, if it is its pod's own, of an attempt that runs."""
        record = self._world.jobs.store.get(muster.job.namespace, muster.job.name)
        if record is None or record.meta.uid != muster.job.uid:
            return Forbidden(f"there is no job {muster.job.namespace}/{muster.job.name} of this uid")
        pod = self._world.pods.store.get(reporter.namespace, reporter.pod)
        refusal = judge_binding(muster, reporter, pod, record.status.attempt)
        if refusal is not None:
            return refusal
        if muster.attempt <= over(record):
            return Stale(f"attempt {muster.attempt} is over")
        member = pod.member if pod is not None else None
        index = None
        if member is not None and member.role == ROLE_WORKER and record.roster is not None:
            index = record.roster.index_of(member)
        if index is None:
            return Forbidden(
                f"pod {reporter.pod} is no worker of job {record.meta.namespace}/{record.meta.name}"
            )
        self._take(record, index, muster)
        return Heard()

    def tell(self, uid: str, attempt: int, orders: Orders) -> None:
        """All launchers of an attempt are told so from now on."""
        crew = self._of(uid, attempt)
        if crew is not None and crew.orders != orders:
            crew.orders = orders
            self.outlet(Told(uid, attempt, orders))

    def of(self, uid: str, attempt: int) -> Mapping[int, Process]:
        """What the launchers of an attempt say, by pod index; not to be changed, and a copy."""
        crew = self._crews.get(uid)
        return dict(crew.processes) if crew is not None and crew.attempt == attempt else _NOBODY

    def told(self) -> Iterator[Told]:
        """All orders that hold."""
        for uid, crew in tuple(self._crews.items()):
            if crew.orders is not None:
                yield Told(uid, crew.attempt, crew.orders)

    def follow(self, record: JobRecord) -> None:
        """Let go of a crew whose attempt is over by the job's status."""
        crew = self._crews.get(record.meta.uid)
        if crew is not None and crew.attempt <= over(record):
            self.forget(record.meta.uid)

    def forget(self, uid: str) -> None:
        """The attempt is over, or the job gone: its launchers have nothing to wait for."""
        crew = self._crews.pop(uid, None)
        if crew is not None:
            self._text -= sum(map(_size, crew.processes.values()))
            self.outlet(Told(uid, crew.attempt, None, over=True))

    def _of(self, uid: str, attempt: int) -> _Crew | None:
        """The crew of that attempt, a new one where need be; None when a later one is there."""
        crew = self._crews.get(uid)
        if crew is not None and crew.attempt < attempt:
            self.forget(uid)
            crew = None
        if crew is None:
            crew = self._crews[uid] = _Crew(attempt)
        return crew if crew.attempt == attempt else None

    def _take(self, record: JobRecord, index: int, muster: Muster) -> None:
        crew = self._of(record.meta.uid, muster.attempt)
        if crew is None:
            return
        known, process = crew.processes.get(index), self._process(muster)
        if known is not None and known.origin == process.origin:
            if _stage(process) < _stage(known):
                return
            if _told(process) == _told(known):
                process = replace(process, at=known.at)
        if known is not None:
            self._text -= _size(known)
        room = MOST_TEXT - self._text
        if _size(process) > room:
            process = replace(process, text=process.text[:SHORT], stacks=process.stacks[:SHORT])
        self._text += _size(process)
        first = not crew.processes
        crew.processes[index] = process
        if known is None or _needed(process) != _needed(known):
            turns = _turns(crew, known, process, record.roster.workers if record.roster is not None else 0)
            restarted = known is not None and known.origin != process.origin
            self._wake(record.key, urgent=turns or first or restarted)

    def _process(self, muster: Muster) -> Process:
        return Process(
            epoch=muster.epoch,
            state=muster.state,
            origin=muster.origin,
            at=self._now(),
            exit_code=muster.exit_code,
            reason=muster.reason,
            text=muster.text,
            seen=muster.seen,
            stacks=muster.stacks,
        )


def over(record: JobRecord) -> int:
    """The last attempt whose launchers have nothing to wait for any more."""
    status = record.status
    ended = bool(status.attempts) and status.attempts[-1].finished_at is not None
    return status.attempt if ended or conditions.is_finished(status) else status.attempt - 1


def _turns(crew: _Crew, known: Process | None, process: Process, workers: int) -> bool:
    """Whether with this the first, or the last, process of the gang came so far."""
    stage = process.epoch, process.state
    if known is not None:
        if (known.epoch, known.state) == stage:
            return False
        crew.stages[known.epoch, known.state] -= 1
        crew.stages += Counter()  # keeps none that are empty
    crew.stages[stage] += 1
    return crew.stages[stage] in (1, workers)


def _stage(process: Process) -> tuple[int, int]:
    return process.epoch, _ORDER[process.state]


def _told(process: Process) -> tuple[Any, ...]:
    return process.epoch, process.state, process.exit_code


def _needed(process: Process) -> tuple[Any, ...]:
    """What decisions look at."""
    return process.epoch, process.state, process.origin, process.seen, process.stacks


def _size(process: Process) -> int:
    return len(process.text) + len(process.stacks)


def _nobody(_told: Told) -> None:
    """There is no ingest."""
