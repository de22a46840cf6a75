"""How each state of the ledgers looks and what it is called, for terminals, reports and dashboards alike.

Colours come in families: greys hold nothing, blues bring the gang up, purples bring the program up, greens are
work, yellow to red is work that was slowed or lost. Each is told apart by more than its colour wherever it is
shown: by name, by letter, or by order. All stand out from white and from near-black by at least 1.5 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from drumline.api.goodput import State
from drumline.api.serving import ServingState

PROVISIONAL: Final = "provisional"  # no state of its own: productive or lost, not known yet


@dataclass(frozen=True, slots=True)
class Look:
    """`colour` is #rrggbb; `letter` stands for the state where there are no colours."""

    colour: str
    letter: str
    meaning: str


LOOKS: Final[Mapping[str, Look]] = MappingProxyType(
    {
        State.SUSPENDED: Look("#c0c6cd", "z", "suspended by its user"),
        State.QUEUED: Look("#a3abb5", "q", "waiting for admission"),
        State.PROVISIONING: Look("#7b8794", "v", "admitted, no place on a node yet"),
        State.BINDING: Look("#9ecae1", "b", "a place is held, the pod is not bound to it yet"),
        State.DRAINING: Look("#a0522d", "d", "the pod failed or is being deleted, until it is gone"),
        State.IMAGE_PULL: Look("#6baed6", "i", "pulling images"),
        State.POD_INIT: Look("#4292c6", "n", "init containers, volumes, devices"),
        State.GANG_WAIT: Look("#2171b5", "w", "ready, waiting for a peer"),
        State.DEVICE_INIT: Look("#5c6bc0", "x", "finding devices and peers"),
        State.CHECKPOINT_RESTORE: Look("#7e57c2", "r", "reading a checkpoint"),
        State.COMPILE: Look("#9e6fc8", "c", "what the first step took beyond a usual one"),
        State.HANG: Look("#b2182b", "H", "no progress for too long"),
        State.CHECKPOINT_SAVE: Look("#c9a227", "s", "blocked by saving a checkpoint"),
        State.DATA_STALL: Look("#e08214", "D", "waiting for input"),
        State.EVAL: Look("#35978f", "e", "evaluation"),
        State.STRAGGLER: Look("#f4a582", "g", "what slow steps took beyond the usual"),
        State.PRODUCTIVE: Look(
            "#1a9850", "P", "steps that a durable checkpoint covers, or the job's success"
        ),
        State.LOST_PROGRESS: Look("#e3342f", "L", "steps that were run again, or of no use after a failure"),
        State.IDLE_TAIL: Look("#bdb76b", "t", "own work done, peers running"),
        State.SPARE: Look("#80b1a8", "o", "a spare that stands by"),
        State.UNKNOWN: Look("#8d8d8d", "?", "running, and nobody said doing what"),
        PROVISIONAL: Look("#74c476", "p", "steps since the last durable checkpoint, productive or lost"),
        # of services alone; the others of theirs are called as those of jobs
        ServingState.LOADING: Look("#b07cc6", "l", "reading weights, compiling: not in service yet"),
        ServingState.SERVING: Look("#2ca25f", "S", "in service, with requests"),
        ServingState.IDLE: Look("#d8b365", "I", "in service, without any request"),
    }
)
SERVING_MEANINGS: Final[Mapping[str, str]] = (
    MappingProxyType(  # where a group's state differs from a worker's
        {
            ServingState.QUEUED: "waiting for a place",
            ServingState.BINDING: "a place is held, not all pods are bound to it yet",
            ServingState.DRAINING: "out of service for good, or being deleted, until it is gone",
            ServingState.UNKNOWN: "in service, and its engine says nothing",
        }
    )
)
_OTHER: Final = Look("#8d8d8d", "?", "a state of a newer operator")


def look(state: str) -> Look:
    """How a state looks; one that this version does not know looks like `unknown`."""
    return LOOKS.get(state, _OTHER)


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of #rrggbb, 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def ansi256(colour: str) -> int:
    """The nearest colour of a terminal's 6·6·6 cube."""
    red, green, blue = (_cube(part) for part in rgb(colour))
    return 16 + 36 * red + 6 * green + blue


def _cube(value: int) -> int:
    levels = (0, 95, 135, 175, 215, 255)
    return min(range(6), key=lambda i: abs(levels[i] - value))
