"""What each worker's place (a lane) is doing, as far as the job's status and its pods tell.

For each lane its milestones are put together: when it entered which base state, by the pods' own times where
they say them. Those that the ledger has not heard of are handed on. Rows of the table, the first that holds:

    suspended     spec.suspend
    queued        no placement (provisioning: its quota is taken, and its nodes are asked for)
    draining      the attempt has ended and the lane's pod is not gone, or the pod failed or is being deleted
    binding       a node is reserved and the pod not bound to it (provisioning: none is reserved)
    pod_init      bound; sandbox, volumes, init containers
    image_pull    those are done, the containers have not started
    gang_wait     started, and some worker of the gang not ready
    up (None)     every worker is ready, or was: a gang that was whole stays up while a pod is unready
    idle_tail     the lane's pod has succeeded

An epoch that began in place finds its pods bound and started: its lanes are `draining` until the launcher holds, then
in `gang_wait`, and up when all processes of the epoch run.

A pod's times are whole seconds; each milestone is moved so that none lies before the one before it, before its
attempt began or after `now`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from drumline.api.goodput import State
from drumline.api.reasons import ConditionType, Reason
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.clock import unix
from drumline.core.gang.ledger.events import LanesChanged
from drumline.core.gang.types import Pod, PodPhase
from drumline.core.training import bitmap, conditions
from drumline.core.training.observation import Observation
from drumline.core.training.provisioned import holds_quota

Base = State | None  # None = up
Milestone = tuple[int, Base]  # Unix milliseconds, state from then on
History = tuple[Milestone, ...]  # of one lane, the oldest first, at least one

PULL_WAITS: Final = frozenset({"ErrImagePull", "ImagePullBackOff"})
_WHOLE: Final = (Reason.ALL_PODS_READY, Reason.PODS_NOT_READY, Reason.HELPER_PENDING)


@dataclass(frozen=True, slots=True)
class LaneChanges:
    """Changes to fold, the oldest first, and where each lane then stands."""

    events: tuple[LanesChanged, ...]
    lanes: tuple[Milestone, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found: when the next one finds the very same pod in the same scene, nothing has changed there."""

    key: tuple[object, ...] = ()
    pods: tuple[Pod | None, ...] = ()


NOTHING_SEEN: Final = Seen()
_OTHER: Final = Pod("", "", "")  # in no lane


@dataclass(frozen=True, slots=True)
class _Scene:
    """What all lanes of one look have in common."""

    now: int
    began: int  # of the attempt
    ended: int | None  # of the attempt, None while it runs
    up_at: int | None  # when the gang was whole, None when it is not
    pinned: Sequence[str] | None  # nodes by index, None when not known
    held: Mapping[int, int] | None = None  # when launchers held, by lane; None in an attempt's first epoch


def lane_histories(obs: Observation, status: TrainingJobStatus, now: float) -> list[History]:
    """The milestones of every lane under `status`, which may be one that is still to be written.

    `now` is Unix seconds. ValueError for a job without a valid spec.
    """
    return [history for history in look(obs, status, now, NOTHING_SEEN)[0] if history is not None]


def look(
    obs: Observation, status: TrainingJobStatus, now: float, seen: Seen
) -> tuple[list[History | None], Seen]:
    """As `lane_histories`, but None for each lane of which nothing has changed since `seen`; and what is seen now."""
    if obs.spec is None or obs.roster is None:
        raise ValueError("the lanes of a job without a valid spec are not known")
    moment, lanes = millis(now), obs.roster.workers
    if obs.spec.suspend or status.placement is None:
        waiting = State.QUEUED if holds_quota(status) is None else State.PROVISIONING
        state = State.SUSPENDED if obs.spec.suspend else waiting
        same = seen.key == (state,) and len(seen.pods) == lanes
        return [None if same else ((moment, state),)] * lanes, Seen((state,), (None,) * lanes)
    current = obs.roster.of_attempt(obs.pods, status.attempt)
    succeeded = bitmap.decode(status.succeeded)
    scene = _scene(obs, status, current, succeeded, moment)
    leaving = _leaving(obs, status.attempt) if len(obs.pods) > len(current) else frozenset()
    pods = tuple(current.get(i) for i in range(lanes))
    held = None if scene.held is None else frozenset(scene.held)
    key = (scene.began, scene.ended, scene.up_at is None, scene.pinned, status.succeeded, leaving, held)
    old = seen.pods if seen.key == key and len(seen.pods) == lanes else (_OTHER,) * lanes
    return [
        None
        if pod is before
        else (
            _without_pod(i, scene, i in succeeded, i in leaving) if pod is None else _with_pod(i, pod, scene)
        )
        for i, (pod, before) in enumerate(zip(pods, old, strict=True))
    ], Seen(key, pods)


def lane_changes(
    before: Sequence[Milestone], histories: Sequence[History | None], floor: int = 0
) -> LaneChanges:
    """What is new in `histories` to one who last heard `before`, lane by lane; None = nothing.

    Of a lane that `before` does not have (all, after a restart) only what came after `floor`, Unix ms, is news.
    """
    if len(before) == len(histories) and not any(histories):
        return LaneChanges((), tuple(before))
    events: dict[int, dict[int, Base]] = {}
    lanes: list[Milestone] = []
    for lane, history in enumerate(histories):
        known = before[lane] if lane < len(before) else None
        if known is not None and (history is None or known[1] is history[-1][1]):
            lanes.append(known)
        elif history is not None:
            lanes.append(history[-1])
            for at, state in _news(floor if known is None else known[0], history):
                events.setdefault(at, {})[lane] = state
    ordered = tuple(LanesChanged(at, events[at]) for at in sorted(events))
    return LaneChanges(ordered, tuple(lanes))


def millis(seconds: float) -> int:
    """Unix seconds as integer milliseconds."""
    return round(seconds * 1000)


def _news(since: int, history: History) -> Iterable[Milestone]:
    """The milestones after `since`; the last in any case, since where a lane stands is a fact."""
    return (*(m for m in history[:-1] if m[0] > since), history[-1])


def _scene(
    obs: Observation,
    status: TrainingJobStatus,
    current: Mapping[int, Pod],
    succeeded: frozenset[int],
    now: int,
) -> _Scene:
    attempt = status.attempts[-1] if status.attempts else None
    began = min(now, millis(unix(attempt.started_at)) if attempt is not None else now)
    over = attempt.finished_at if attempt is not None else None
    ended = min(now, millis(unix(over))) if over else None
    workers = obs.roster.workers if obs.roster is not None else 0
    pods = [current.get(i) for i in range(workers) if i not in succeeded]
    return _Scene(
        now=now,
        began=began,
        ended=ended,
        up_at=_up_at(status, pods, began, now if ended is None else ended),
        pinned=obs.placement.nodes if obs.placement is not None else None,
        held=_held(obs, status.epoch) if status.epoch else None,
    )


def _held(obs: Observation, epoch: int) -> dict[int, int]:
    """When each launcher came to the barrier of `epoch`, or started a process of it."""
    return {i: millis(p.at) for i, p in obs.crew.items() if p.epoch == epoch}


def _up_at(status: TrainingJobStatus, pods: Sequence[Pod | None], began: int, latest: int) -> int | None:
    """When the last worker became ready; a gang that the status calls whole is, whatever a pod says now."""
    if status.epoch:
        whole_at = status.attempts[-1].ready_at
        return min(latest, max(began, millis(unix(whole_at)))) if whole_at else None
    ready = conditions.find(status, ConditionType.PODS_READY)
    whole = ready is not None and ready.reason in _WHOLE
    if not whole and not all(p is not None and _was_up(p) for p in pods):
        return None
    times = [p.times.ready_at or p.times.started_at for p in pods if p is not None]
    return min(latest, max(began, millis(max(times)))) if times and all(times) else latest


def _was_up(pod: Pod) -> bool:
    """A pod that has ended no longer says when it was ready: that it had started must do."""
    return pod.ready or pod.phase is PodPhase.SUCCEEDED or (pod.terminal and bool(pod.times.started_at))


def _leaving(obs: Observation, attempt: int) -> frozenset[int]:
    """Lanes in which a pod of an earlier attempt is not gone."""
    members = (p.member for p in obs.pods.values())
    roster = obs.roster
    if roster is None:
        return frozenset()
    return frozenset(
        i for m in members if m and m.attempt != attempt and (i := roster.index_of(m)) is not None
    )


def _without_pod(lane: int, scene: _Scene, succeeded: bool, leaving: bool) -> History:
    if succeeded and scene.ended is None:
        return ((scene.now, State.IDLE_TAIL),)
    since = scene.began if scene.ended is None else scene.ended
    if leaving:
        return ((since, State.DRAINING),)
    return ((since if scene.ended is None else scene.now, _waiting(lane, scene)),)


def _waiting(lane: int, scene: _Scene) -> State:
    """A place that is not a node's name is one the scheduler has still to find."""
    known = scene.pinned is not None and lane < len(scene.pinned)
    held = not known or bool(scene.pinned and scene.pinned[lane])
    return State.BINDING if held else State.PROVISIONING


def _with_pod(lane: int, pod: Pod, scene: _Scene) -> History:
    return _in_order([*_coming_up(lane, pod, scene), *_going_down(pod, scene)], scene)


def _coming_up(lane: int, pod: Pod, scene: _Scene) -> list[tuple[float, Base]]:
    """Unix seconds and states, from the attempt's begin to the gang's being up."""
    if scene.held is not None:
        return _coming_up_again(lane, pod, scene)
    rows: list[tuple[float, Base]] = [(scene.began / 1000, _waiting(lane, scene))]
    times = pod.times
    if not pod.bound:
        return rows
    rows.append((pod.bound_at, State.POD_INIT))
    if times.prepared_at or pod.waiting in PULL_WAITS:
        rows.append((times.prepared_at or scene.now / 1000, State.IMAGE_PULL))
    if times.started_at or pod.ready:
        rows.append((times.started_at or times.ready_at, State.GANG_WAIT))
    if scene.up_at is not None and (pod.phase is not PodPhase.SUCCEEDED or _outlived(pod, scene.up_at)):
        rows.append((scene.up_at / 1000, None))
    return rows


def _coming_up_again(lane: int, pod: Pod, scene: _Scene) -> list[tuple[float, Base]]:
    rows: list[tuple[float, Base]] = [(scene.began / 1000, State.DRAINING)]
    if scene.held and lane in scene.held:
        rows.append((scene.held[lane] / 1000, State.GANG_WAIT))
    if scene.up_at is not None and (pod.phase is not PodPhase.SUCCEEDED or _outlived(pod, scene.up_at)):
        rows.append((scene.up_at / 1000, None))
    return rows


def _outlived(pod: Pod, up_at: int) -> bool:
    """Whether a pod that has succeeded still ran when the gang was whole."""
    return millis(pod.times.ended_at) > up_at


def _going_down(pod: Pod, scene: _Scene) -> list[tuple[float, Base]]:
    now, times = scene.now / 1000, pod.times
    if pod.phase is PodPhase.SUCCEEDED and scene.ended is None:
        return [(times.ended_at or now, State.IDLE_TAIL)]
    if pod.phase is PodPhase.FAILED:
        end = pod.termination.finished_at if pod.termination is not None else 0.0
        return [(times.ended_at or end or now, State.DRAINING)]
    ends = [t for t in (times.deleted_at, (scene.ended or 0) / 1000) if t]
    if pod.deleting or scene.ended is not None:
        return [(min(ends, default=now), State.DRAINING)]
    return []


def _in_order(rows: Sequence[tuple[float, Base]], scene: _Scene) -> History:
    """Each milestone between the one before it and now; a state that lasted no time is left out."""
    history: list[Milestone] = []
    latest = scene.began
    for seconds, state in rows:
        latest = min(scene.now, max(latest, millis(seconds)))
        history.append((latest, state))
    kept = [here for here, after in pairwise(history) if here[0] < after[0]]
    return (*kept, history[-1])
