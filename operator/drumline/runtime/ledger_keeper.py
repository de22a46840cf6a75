"""Keeps the ledger of every job: tells it what is seen and reported, and puts its figures into the status.

A status that is written anyway carries the figures along; on its own they are written at most every
`HELD_SECONDS` while a job holds accelerators, and every `WAITING_SECONDS` while it waits, or less often where there are so
many jobs that this would be more than `HELD_PER_SECOND` and `WAITING_PER_SECOND`; the first time after a
status that was due anyway up to half of that sooner, at a moment of each job's own. What a plan is about to say
of attempts holds for the ledger only once it is written, since another plan may take its place. After a restart
the ledger goes on from `status.goodput.resume`; what happened meanwhile is told by the pods' own times. A reporter's receipt covers what the last written status holds, so that a report is sent
again until it can't be lost any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol
from zlib import crc32

from drumline.api.goodput import GoodputStatus
from drumline.api.meta import ROLE_WORKER
from drumline.api.progress import ProgressSource
from drumline.api.report import Receipt, Report, ReportSource, Span, SpanKind
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.clock import unix
from drumline.core.gang.goodput import Facts, status_of
from drumline.core.gang.ledger.events import Event, Reported, Ticked
from drumline.core.gang.ledger.fold import durable_ms, fold_all, is_stale
from drumline.core.gang.ledger.ledger import Ledger
from drumline.core.gang.ledger.pulse import Pulse, pulse_of
from drumline.core.gang.ledger.resume import from_resume, to_resume
from drumline.core.gang.ledger.settings import LedgerSettings
from drumline.core.gang.ledger.summary import summary
from drumline.core.gang.plan import Plan
from drumline.core.gang.types import Member
from drumline.core.training import accounts, conditions, silence
from drumline.core.training.accounts import KnownLanes
from drumline.core.training.lanes import millis
from drumline.core.training.observation import Observation
from drumline.core.training.progress_condition import ProgressReported, from_reports
from drumline.core.training.rendering import reporting
from drumline.core.training.silence import Silence
from drumline.core.training.status_size import within_limit
from drumline.runtime.ingest.binding import judge_binding
from drumline.runtime.ingest.verdicts import Accepted, Forbidden, Reporter, Stale, Unavailable, Verdict
from drumline.runtime.ledger_entry import Draft, Entry, Speaker
from drumline.runtime.records import JobRecord
from drumline.runtime.world import World

HELD_SECONDS: Final = 30.0
WAITING_SECONDS: Final = 300.0
HELD_PER_SECOND: Final = 20.0  # writes for the figures alone, of all jobs that hold accelerators …
WAITING_PER_SECOND: Final = 10.0  # … and of all that wait
NOT_YET_SECONDS: Final = 1.0
_RANK_0: Final = (0, 0)
_OVER: Final = frozenset({"leave_alone", "finished"})

logger = logging.getLogger(__name__)


class Meter(Protocol):
    """Who counts what happens once."""

    def settled(self, obs: Observation, before: TrainingJobStatus, after: TrainingJobStatus) -> None:
        """The status of a job was written."""

    def heard(self, namespace: str, spans: list[Span]) -> None:
        """Spans that no report before had."""


class _NoMeter:
    """Counts nothing."""

    def settled(self, obs: Observation, before: TrainingJobStatus, after: TrainingJobStatus) -> None:
        """Not counted."""

    def heard(self, namespace: str, spans: list[Span]) -> None:
        """Not counted."""


NO_METER: Final = _NoMeter()


class LedgerKeeper:
    """The ledgers of the jobs of `world`. `now` gives Unix seconds."""

    def __init__(self, world: World, meter: Meter, now: Callable[[], float]) -> None:
        self._world = world
        self._meter = meter
        self._now = now
        self._entries: dict[str, Entry] = {}  # by job uid
        self._holding: set[str] = set()  # uids of jobs that held accelerators when they were last looked at
        self.committed: Callable[[tuple[str, str]], None] = lambda _key: None  # told of checkpoints, by job
        self.flush: Callable[[str], None] = lambda _uid: None  # asks for what was not delivered yet of a job

    def forget(self, uid: str) -> None:
        """The job is over or gone."""
        self._entries.pop(uid, None)
        self._holding.discard(uid)

    def draft(self, obs: Observation, whole: Plan, plan: Plan) -> Draft:
        """`plan` with the figures in its statuses, or with a status of its own when that is due.

        `whole` is the plan as decided; `plan` may have been spared its status. A ledger that fails costs its job
        the account, never the plan.
        """
        if whole.metadata.get("policy") in _OVER or conditions.is_finished(obs.status):
            self.forget(obs.job.uid)
            return Draft(plan)
        try:
            return self._draft(obs, whole, plan)
        except Exception:
            logger.exception("no account of %s/%s", obs.job.namespace, obs.job.name)
            return Draft(plan)

    def _draft(self, obs: Observation, whole: Plan, plan: Plan) -> Draft:
        now = self._now()
        entry = self._entry(obs, now)
        if entry is None:
            return Draft(plan)
        after = _after(obs, plan)
        if conditions.is_finished(after):
            now = unix(after.completion_time, now)  # decided upon a moment ago
        news, lanes = accounts.lane_news(obs, after, entry.lanes, entry.ledger.at, now)
        (self._holding.add if lanes.held else self._holding.discard)(obs.job.uid)
        attempts = accounts.attempt_events(after, entry.ledger, entry.ended, now)
        if attempts:
            self.flush(obs.job.uid)
        sizes = accounts.resize_news(obs, after, len(entry.ledger.lanes), now)
        events = accounts.in_time([*attempts, *sizes, *news])
        ledger = fold_all(entry.ledger, events) if events else entry.ledger
        ended = accounts.last_ended(after)
        silent = self._silence(obs, after, entry)
        plan = _again(plan, silent.due)
        draft = Draft(plan, entry, ledger, lanes, ended, obs.status, early=_early(obs.job.uid))
        if plan.status is None and plan.intent is None:
            wait = entry.written_at + self._period(lanes, entry.early) - now
            if (wait > 0 and silent.said is None) or not obs.status.conditions:
                entry.ledger, entry.lanes, entry.ended = ledger, lanes, ended
                return Draft(_again(plan, wait if wait > 0 else self._period(lanes, 0.0)))
            draft = replace(draft, plan=replace(plan, status=whole.status or obs.status.to_json()), early=0.0)
        closing = _closing(entry, ledger, after, now)
        return self._drafted(obs, replace(draft, ledger=fold_all(ledger, closing)))

    def _drafted(self, obs: Observation, draft: Draft) -> Draft:
        """The figures of the draft's ledger, put into its statuses."""
        entry, ledger, plan, now = draft.entry, draft.ledger, draft.plan, self._now()
        if entry is None or ledger is None:
            return draft
        figures = summary(ledger, ledger.at)
        goodput = status_of(figures, _facts(obs), figures.at)

        def resume(room: int) -> str:
            return to_resume(ledger, room) if figures.ended_at is None else ""

        def told(status: Mapping[str, Any] | None) -> TrainingJobStatus | None:
            if status is None:
                return None
            model = TrainingJobStatus.model_validate(status)
            reported = self._reported(obs, model, entry)
            whole = accounts.told(model, goodput, figures.attempts, reported, entry.exits, now)
            return within_limit(whole, resume)

        intent, status = told(plan.intent), told(plan.status)
        plan = replace(plan, intent=_json(intent), status=_json(status))
        if figures.ended_at is None:
            plan = _again(plan, self._period(draft.lanes, draft.early))
        return replace(draft, plan=plan, after=status or intent)

    def _period(self, lanes: KnownLanes, early: float) -> float:
        """Seconds from one status to the next that is written for its figures alone."""
        if lanes.held:
            seconds = max(HELD_SECONDS, len(self._holding) / HELD_PER_SECOND)
        else:
            seconds = max(WAITING_SECONDS, len(self._entries) / WAITING_PER_SECOND)
        return seconds * (1.0 - early)

    def settle(self, obs: Observation, draft: Draft, *, written: bool) -> None:
        """A draft's plan was applied: its ledger holds if a status was written, else the one before.

        What fails here costs the account or a metric, never what came of the plan.
        """
        try:
            draft.end(written=written, now=self._now())
            if written and draft.before is not None and draft.after is not None:
                self._meter.settled(obs, draft.before, draft.after)
        except Exception:
            logger.exception("no account of %s/%s", obs.job.namespace, obs.job.name)

    def _entry(self, obs: Observation, now: float) -> Entry | None:
        """The entry of a job; read from its status after a restart, and when another leader wrote it since."""
        entry, stored = self._entries.get(obs.job.uid), obs.status.goodput
        if entry is not None and (stored is None or millis(unix(stored.at)) <= entry.written.at):
            return entry
        ledger = _resumed(obs, stored)
        if ledger is None and obs.spec is None:
            return None
        ledger = ledger or accounts.new_ledger(obs)
        written_at = min(now, unix(stored.at)) if stored is not None else now
        speaker, since = Speaker.of(ledger), self._now()
        entry = self._entries[obs.job.uid] = Entry(ledger, ledger, written_at, since, speaker=speaker)
        return entry

    def _silence(self, obs: Observation, status: TrainingJobStatus, entry: Entry) -> Silence:
        """What becomes of the condition while no step is known."""
        if entry.speaker_of(status.attempt) is not None or conditions.is_finished(status):
            return silence.NOTHING
        return silence.judge(obs, status, entry.hello, entry.since, self._now())

    def _reported(self, obs: Observation, status: TrainingJobStatus, entry: Entry) -> ProgressReported | None:
        speaker = entry.speaker_of(status.attempt)
        if speaker is None or obs.spec is None:
            return self._silence(obs, status, entry).said
        return from_reports(speaker.source, obs.spec, reporting(obs.settings), status.attempt)

    def pulse(self, obs: Observation) -> Pulse | None:
        """What is known of the steps of the attempt that runs; None when nothing is, or it is not to be asked."""
        attempts, spec = obs.status.attempts, obs.spec
        if spec is None or spec.progress.source is ProgressSource.NONE:
            return None
        if not attempts or attempts[-1].finished_at is not None:
            return None
        now = self._now()
        entry = self._entry(obs, now)
        running = obs.status.attempt, obs.status.epoch
        if entry is None or (entry.ledger.attempt, entry.ledger.epoch) != running:
            return None
        found = pulse_of(entry.ledger, millis(now), entry.heard_at)
        over = found is not None and entry.said_last == running
        return replace(found, hanging=False, due=None) if found is not None and over else found

    def alive(self, uid: str) -> None:
        """Something of the running attempt was heard, though it may have said nothing."""
        entry = self._entries.get(uid)
        if entry is not None:
            entry.heard_at = self._now()

    def source_of(self, uid: str, attempt: int) -> ReportSource | None:
        """The best way in which steps of an attempt have come; None when none has."""
        entry = self._entries.get(uid)
        speaker = entry.speaker_of(attempt) if entry is not None else None
        return speaker.source if speaker is not None else None

    def checkpoint_of(self, obs: Observation) -> float | None:
        """When the job's latest checkpoint became durable, Unix seconds; None when none is known."""
        entry, stored = self._entries.get(obs.job.uid), obs.status.goodput
        if entry is not None and entry.ledger.checkpoint_at >= 0:
            return entry.ledger.checkpoint_at / 1000
        at = stored.last_checkpoint_at if stored is not None else None
        return unix(at) if at is not None else None

    def position_of(self, report: Report) -> int:
        """Up to when, on its own clock, the ledger has what the sender of `report` said; 0 = nothing."""
        entry = self._entries.get(report.job.uid)
        return durable_ms(entry.ledger, report) if entry is not None else 0

    def deliver(self, report: Report, reporter: Reporter, since: int = 0) -> Verdict:
        """Take a report. For `ReportBus.deliver`, and for who reads logs and scrapes in a worker's stead.

        `since`: spans that end before were left out, as they were held when it was last asked (`Accepted.held_ms`).
        """
        record = self._world.jobs.store.get(report.job.namespace, report.job.name)
        if record is None or record.meta.uid != report.job.uid:
            return Forbidden(f"there is no job {report.job.namespace}/{report.job.name} of this uid")
        pod = self._world.pods.store.get(reporter.namespace, reporter.pod)
        refusal = judge_binding(report, reporter, pod, record.status.attempt)
        if refusal is not None:
            return refusal
        if conditions.is_finished(record.status):
            return Stale("the job is over")
        entry = self._entries.get(record.meta.uid)
        known = (entry.ledger.attempt, entry.ledger.epoch) if entry is not None else (0, 0)
        if entry is None or (report.attempt, report.epoch) > known:
            return Unavailable("the operator has not looked at this attempt yet", NOT_YET_SECONDS)
        if is_stale(entry.ledger, report):
            return Stale(f"epoch {report.epoch} of attempt {report.attempt} is over")
        entry.greet(report, self._now())
        if report.exit:
            entry.hear_exit(reporter.pod, report.exit)
        return self._take(record, entry, report, pod.member if pod is not None else None, since)

    def _take(
        self, record: JobRecord, entry: Entry, report: Report, member: Member | None, since: int
    ) -> Verdict:
        """Fold a report, unless its steps come a better way or it says nothing: then it need not come again."""
        wanted = record.spec is None or record.spec.progress.source is not ProgressSource.NONE
        speaker = _speaker(report, member)
        if not wanted or speaker is None:
            return Accepted(Receipt(durable_ms=report.sent_ms))
        entry.peers.hear(speaker.lane, report)
        if not _counts(entry.speaker_of(report.attempt), speaker, report):
            return Accepted(Receipt(durable_ms=report.sent_ms))
        if (report.slice, report.worker) != speaker.lane:
            report = report.model_copy(update={"slice": speaker.lane[0], "worker": speaker.lane[1]})
        position = durable_ms(entry.ledger, report)
        if position < since:
            return Unavailable("the operator has lost what it had of this", NOT_YET_SECONDS)
        if _has_steps(report):
            entry.speaker = speaker
        entry.hear(Reported(millis(self._now()), report))
        if report.commits and (record.status.resize is not None or record.status.order is not None):
            self.committed(record.key)
        news = [s for s in report.spans if s.start_ms + s.duration_ms > position]
        self._meter.heard(record.meta.namespace, news)
        written, held = (durable_ms(ledger, report) for ledger in (entry.written, entry.ledger))
        return Accepted(Receipt(durable_ms=written), held)


def _speaker(report: Report, member: Member | None) -> Speaker | None:
    """Only workers speak; which one is told by the pod, not by the report."""
    if member is None or member.role != ROLE_WORKER:
        return None
    return Speaker(report.attempt, report.source, (member.slice, member.worker))


def _counts(known: Speaker | None, speaker: Speaker, report: Report) -> bool:
    """Whether a report is folded. While nobody tells steps, rank 0 may tell what else it does.

    A report that tells nothing is not: where none tells anything, time is better estimated.
    """
    if known is not None:
        return speaker.order <= known.order
    told = report.spans or report.commits or report.open is not None or report.resumed_step is not None
    return bool(told) and (_has_steps(report) or speaker.lane == _RANK_0)


def _has_steps(report: Report) -> bool:
    return any(span.kind is SpanKind.STEP for span in report.spans)


def _after(obs: Observation, plan: Plan) -> TrainingJobStatus:
    """The job's status once the plan is applied."""
    written = plan.status or plan.intent
    return obs.status if written is None else TrainingJobStatus.model_validate(written)


def _facts(obs: Observation) -> Facts:
    """What ratios rest on beside the ledger."""
    before = obs.status.goodput
    if obs.spec is None:
        return Facts(before=before)
    accelerator = obs.catalog.get(obs.spec.accelerator.type)
    return Facts(obs.spec.model, obs.spec.checkpoint, accelerator, before=before)


def _json(status: TrainingJobStatus | None) -> dict[str, Any] | None:
    return status.to_json() if status is not None else None


def _early(uid: str) -> float:
    """By what part of a period, less than four fifths, figures are due sooner after a status that was due anyway.

    Jobs that began together would else be written together ever after, and each would wait for all others.
    """
    return 0.8 * crc32(uid.encode()) / 2**32


def _closing(entry: Entry, ledger: Ledger, after: TrainingJobStatus, now: float) -> list[Event]:
    at = millis(now)
    return [Ticked(at), *entry.compared(ledger, at), *accounts.closing(after, now)]


def _resumed(obs: Observation, stored: GoodputStatus | None) -> Ledger | None:
    if stored is None or not stored.resume:
        return None
    settings = accounts.settings_of(obs.spec) if obs.spec is not None else LedgerSettings()
    try:
        return from_resume(stored.resume, settings)
    except ValueError as error:
        logger.error("the ledger of %s/%s begins anew: %s", obs.job.namespace, obs.job.name, error)  # noqa: TRY400 - the message says it all
        return None


def _again(plan: Plan, seconds: float | None) -> Plan:
    if seconds is None:
        return plan
    after = seconds if plan.requeue_after is None else min(seconds, plan.requeue_after)
    return replace(plan, requeue_after=after)
