"""Which state a group was in when, read off its entry in the status, its pods' own times and its engine's samples.

    queued → binding → pod_init → image_pull → loading → in service → draining
             placed    bound      prepared     started   ready        taken out

An attempt's times are those of its last pod, since a group starts as one. Without an attempt under way a group
drains while pods of an earlier one are left, then it is binding if its nodes are held, else queued. Where nodes are
held and the pause is over, pods of the earlier attempt are what it has waited for, even if they are gone by now. In service it is
serving between two samples if a request was in work at the second, or one was answered or a token put out between
them; else idle. What no sample speaks of (an engine without metrics, a gap of more than `FRESH_SECONDS`) is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from drumline.api.inference_status import GroupPhase, GroupStatus
from drumline.api.serving import ServingState
from drumline.core.gang.clock import unix
from drumline.core.gang.types import Pod
from drumline.core.inference.signals import EngineSample
from drumline.core.inference.windows import grown

FRESH_SECONDS: Final = 30.0

Span = tuple[float, float, ServingState]  # [from, to) in Unix seconds


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a group at one moment."""

    group: GroupStatus
    size: int  # pods that its attempt consists of
    pods: Mapping[int, Pod]  # of the current attempt, by worker
    leftovers: bool  # pods of earlier attempts are there
    samples: Sequence[EngineSample] = ()  # of the current attempt's leader, oldest first
    before: EngineSample | None = None  # the last sample that an earlier account saw


def spans(facts: Facts, start: float, now: float) -> Iterator[Span]:
    """The group's states from `start` to `now`, without gaps, in order."""
    marks = [(max(start, at), state) for at, state in _marks(facts, now) if at < now]
    for (begin, state), (end, _) in zip(marks, [*marks[1:], (now, ServingState.UNKNOWN)], strict=True):
        if end <= max(begin, start):
            continue
        if state is ServingState.SERVING:
            yield from _served(facts, begin, end)
        else:
            yield begin, end, state


def _marks(facts: Facts, now: float) -> list[tuple[float, ServingState]]:
    """When each state began; the first holds from the beginning of time."""
    group = facts.group
    never = float("-inf")
    if group.draining_since is not None and not _attempt(facts):
        return [(never, ServingState.DRAINING)]
    if not _attempt(facts):
        waited = _between_attempts(facts)
        over = group.next_attempt_at if waited is ServingState.BINDING else None
        return [(never, waited), *([(unix(over), ServingState.DRAINING)] if over is not None else [])]
    placed = unix(group.started_at)
    gated = group.backend is not None  # by somebody who lets it in when its first pod is bound
    found = [(never, ServingState.QUEUED if group.attempt <= 1 or gated else ServingState.BINDING)]
    bound = [p.bound_at for p in facts.pods.values() if p.bound_at]
    if not gated or bound:
        found.append((max(placed, min(bound)) if gated else placed, ServingState.BINDING))
    steps = (
        ([p.bound_at for p in facts.pods.values()], ServingState.POD_INIT),
        ([p.times.prepared_at for p in facts.pods.values()], ServingState.IMAGE_PULL),
        ([p.times.started_at for p in facts.pods.values()], ServingState.LOADING),
    )
    for times, state in steps:
        if len(times) < facts.size or not all(times):
            break
        found.append((max(*times, found[-1][0]), state))
    if group.ready_at is not None:
        found.append((max(unix(group.ready_at), found[-1][0]), ServingState.SERVING))
    if group.draining_since is not None:
        found.append((max(unix(group.draining_since), found[-1][0]), ServingState.DRAINING))
    return found


def _attempt(facts: Facts) -> bool:
    return bool(facts.group.nodes) and facts.group.started_at is not None


def _between_attempts(facts: Facts) -> ServingState:
    if facts.leftovers:
        return ServingState.DRAINING
    held = bool(facts.group.nodes) and facts.group.phase is not GroupPhase.FAILED
    return ServingState.BINDING if held else ServingState.QUEUED


def _served(facts: Facts, begin: float, end: float) -> Iterator[Span]:
    """Time in service, split by what the samples say."""
    at, before = begin, facts.before
    for sample in facts.samples:
        if sample.at > at:
            until = min(sample.at, end)
            yield at, until, _judged(before, sample, at)
            at = until
        before = sample
        if at >= end:
            return
    if at < end:
        latest = facts.samples[-1] if facts.samples else None
        fresh = latest is not None and end - latest.at <= FRESH_SECONDS
        yield at, end, _now(latest) if fresh and latest is not None else ServingState.UNKNOWN


def _judged(before: EngineSample | None, sample: EngineSample, since: float) -> ServingState:
    if sample.in_flight is None and sample.requests is None and sample.generation_tokens is None:
        return ServingState.UNKNOWN
    if sample.in_flight:
        return ServingState.SERVING
    if before is None:
        # nothing to compare with: the sample speaks for a short while before it only
        return ServingState.IDLE if sample.at - since <= FRESH_SECONDS else ServingState.UNKNOWN
    done = grown(before.requests, sample.requests) + grown(before.generation_tokens, sample.generation_tokens)
    return ServingState.SERVING if done else ServingState.IDLE


def _now(sample: EngineSample | None) -> ServingState:
    if sample is None or sample.in_flight is None:
        return ServingState.UNKNOWN
    return ServingState.SERVING if sample.in_flight else ServingState.IDLE
