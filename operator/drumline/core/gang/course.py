"""What a decision in the making collects, whatever it is about: actions, events, when to look again, its end.

The views of jobs and of services are courses with an observation and a status. Nothing is ever changed in place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from drumline.api.reasons import Reason
from drumline.core.gang.plan import Action, Create, Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is to be done so far."""

    prepare: tuple[Create, ...] = ()
    status_first: bool = False  # the status goes before the actions: what they undo must be on record
    actions: tuple[tuple[Action, ...], ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    ended: str = ""  # name of the policy that ended the decision

    def act(self, *actions: Action) -> Self:
        """One more stage of actions; an empty stage is none."""
        return replace(self, actions=(*self.actions, actions)) if actions else self

    def event(self, kind: Literal["Normal", "Warning"], reason: Reason | str, message: str) -> Self:
        """One more event."""
        return replace(self, events=(*self.events, Event(kind, str(reason), message)))

    def again_in(self, seconds: float | None) -> Self:
        """Decide again after at most so many seconds."""
        if seconds is None:
            return self
        earliest = seconds if self.requeue_after is None else min(seconds, self.requeue_after)
        return replace(self, requeue_after=max(0.0, earliest))

    def done(self, policy: str) -> Self:
        """No later policy has a say."""
        return replace(self, ended=policy)
