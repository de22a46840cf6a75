"""The life of one gang in a simulation: attempts, progress, what failures undo.

Progress begins `startup` seconds after an attempt does and is one second a second. A failure leaves what the last
checkpoint has: the largest multiple of `checkpoint_interval` that was reached, else nothing. The delay before the
next attempt is the operator's own (`core.training.attempts`), with its defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from drumline.api.failure import JobBackoff
from drumline.api.reasons import Cause
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.types import GangRequest
from drumline.core.sim.model import End, Outcome, Rules, SimJob
from drumline.core.training.attempts import begun, finished, restart_delay

_BACKOFF = JobBackoff()


@dataclass(slots=True)
class Gang:
    """A job that has arrived. `turn` changes whenever what was foreseen for it is void."""

    job: SimJob
    request: GangRequest
    turn: int = 0
    running: bool = False
    since: float = 0.0  # begin of the attempt
    admitted_at: float = 0.0  # since when it has held nodes
    queued_at: float | None = None  # since when it waits for nodes once more, after it lost all of them
    attempts: int = 0
    saved: float = 0.0  # seconds of progress that a failure leaves
    lost: float = 0.0  # seconds of progress undone so far
    ran: float = 0.0  # seconds of running in attempts that are over
    program_failures: int = 0
    first_start: float | None = None
    nodes: tuple[str, ...] = ()  # of the last attempt
    avoided: dict[str, float] = field(default_factory=dict)  # node → until
    status: TrainingJobStatus = field(default_factory=TrainingJobStatus)

    def begin(self, now: float, nodes: tuple[str, ...]) -> None:
        """An attempt begins on these nodes."""
        self.turn += 1
        self.running = True
        self.since = now
        self.attempts += 1
        self.nodes = nodes
        self.first_start = now if self.first_start is None else self.first_start
        self.queued_at = None

    def progress(self, now: float, rules: Rules) -> float:
        """Seconds of progress so far."""
        if not self.running:
            return self.saved
        return min(self.job.duration, self.saved + max(0.0, now - self.since - rules.startup))

    def completes_at(self, rules: Rules) -> float:
        """When it is done, if nothing fails."""
        return self.since + rules.startup + self.job.duration - self.saved

    def fails_at(self) -> float | None:
        """When its program fails in this attempt, if it runs that long; None = never."""
        planned = self.job.failures[self.program_failures : self.program_failures + 1]
        return self.since + max(0.0, planned[0] - self.ran) if planned else None

    def saved_at(self, now: float, rules: Rules) -> float:
        """The time of which a failure now would leave the progress."""
        reached = self.progress(now, rules)
        return now - (reached - self._left_of(reached, rules)) if self.running else now

    def fail(self, now: float, cause: Cause, rules: Rules) -> float:
        """The attempt ends; seconds until the next one may begin. Who is preempted saves first, if it can."""
        reached = self.progress(now, rules)
        asked = cause is Cause.PREEMPTED and rules.checkpoint_interval > 0
        left = reached if asked else self._left_of(reached, rules)
        self.lost += reached - left
        self.saved = left
        self.ran += now - self.since
        self.running = False
        self.turn += 1
        self.program_failures += cause is Cause.APPLICATION_EXIT
        ready = self.since + rules.startup
        status = begun(self.status, self.since)
        if ready <= now:
            last = status.attempts[-1].model_copy(update={"ready_at": rfc3339_millis(ready)})
            status = status.model_copy(update={"attempts": (*status.attempts[:-1], last)})
        self.status = finished(status, now, cause=cause.value)
        return restart_delay(self.status, _BACKOFF)

    def may_stay(self, now: float, well: set[str]) -> bool:
        """Whether the next attempt may begin on the nodes of the last without asking."""
        self.avoided = {node: until for node, until in self.avoided.items() if until > now}
        return all(node in well and node not in self.avoided for node in self.nodes)

    def asks_again(self) -> GangRequest:
        """What it asks for when it needs other nodes: its old ones first, none that failed if others will do.

        While it holds nodes its place in the line is that of its first start.
        """
        since = self.first_start if self.queued_at is None else self.queued_at
        self.request = replace(
            self.request,
            queued_at=self.request.queued_at if since is None else since,
            excluded=frozenset(self.avoided),
            if_possible=tuple(self.avoided),
            preferred_nodes=dict(enumerate(self.nodes)),
        )
        return self.request

    def outcome(self, end: End, now: float, held: float, rules: Rules) -> Outcome:
        """What became of it, at its end or when the simulation is cut off; `held` in chip-seconds."""
        chips = self.job.chips
        return Outcome(
            self.job,
            end,
            self.first_start,
            now if end is End.COMPLETED else None,
            self.attempts,
            held,
            self.lost * chips,
            self.progress(now, rules) * chips,
        )

    def _left_of(self, reached: float, rules: Rules) -> float:
        interval = rules.checkpoint_interval
        return max(self.saved, reached // interval * interval) if interval > 0 else 0.0
