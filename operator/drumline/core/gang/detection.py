"""When what ended a gang happened, and for how long nobody acted upon it: the detection.

It ends when the operator decided. It begins, by the first row that holds,

    a node was lost                     when its condition Ready ceased to be True
    a container failed                  when it ended, by the kubelet's word
    others delete the pod               when they asked for it
    else                                not known

unless whoever saw the failure says it, as of a hang (the end of the last step) or of a process behind its launcher
(when that said so). The cluster's own delay until it calls a node not ready is not in it.

The clocks are those of several machines, and the kubelet's times are whole seconds, so a begin may seem to lie after
the decision or before the attempt's own begin: it is moved there, and if that is by a second or more the figure is
called estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from drumline.api.goodput import Source
from drumline.api.reasons import Cause
from drumline.core.gang.types import Node, Pod

WHOLE_SECOND: Final = 1.0  # by which a time of the kubelet's is too early


@dataclass(frozen=True, slots=True)
class Moment:
    """When something happened, Unix seconds, and how that is known."""

    at: float
    source: Source = Source.OBSERVED


@dataclass(frozen=True, slots=True)
class Detection:
    """How long a failure was not acted upon. `ms` is never negative."""

    ms: int
    source: Source


def failed_at(pod: Pod | None, node: Node | None, cause: Cause) -> Moment | None:
    """When a pod failed; None when nothing tells."""
    if cause is Cause.NODE_LOST and node is not None and node.unready_since:
        return Moment(node.unready_since)
    if pod is None:
        return None
    end = pod.termination
    if end is not None and end.exit_code and end.finished_at:
        return Moment(end.finished_at)
    return Moment(pod.times.deleted_at) if pod.deleting and pod.times.deleted_at else None


def detection(happened: Moment, began: float, decided: float) -> Detection:
    """Of what happened in an attempt that began at `began` and was ended at `decided`, Unix seconds."""
    at = min(max(happened.at, began), decided)
    source = happened.source if abs(at - happened.at) < WHOLE_SECOND else Source.ESTIMATED
    return Detection(max(0, round((decided - at) * 1000)), source)
