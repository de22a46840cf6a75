"""Applies a plan: prepare, intent, actions stage by stage, status, events (see drumline.core.gang.plan).

Applying is idempotent, so a plan that was cut off anywhere is simply decided and applied again. Inside a
stage a bounded number of actions run at once, started in their order; the first that fails stops the
rest of its stage (those under way finish) and ends the plan.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from drumline.core.gang.lazy import rendered
from drumline.core.gang.plan import Action, Create, Delete, Event, JsonPatch, Patch, Plan
from drumline.runtime.errors import ApiError, LeaseLost, TerminalError
from drumline.runtime.executor_events import Events
from drumline.runtime.executor_objects import Objects, Owner
from drumline.runtime.expectations import Expectations
from drumline.runtime.http import JSON_PATCH, Client

__all__ = ["Executor", "Outcome", "Owner"]

CONCURRENCY: Final = 64
EVENTS: Final = 16  # at once


@dataclass(slots=True)
class Outcome:
    """What came of a plan. `error` is what ended it early, at the object `failed` (``pods/x`` or "status")."""

    created: list[str] = field(default_factory=list)  # "pods/x"
    found: list[str] = field(default_factory=list)  # were there already, and ours
    deleted: list[str] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    resource_version: str = ""  # the owner's after the last status write; "" = none was written
    failed: str = ""
    error: ApiError | None = None


class Executor:
    """Carries out plans. `now` gives Unix time in seconds; `concurrency` bounds one stage."""

    def __init__(
        self,
        client: Client,
        expectations: Expectations,
        *,
        now: Callable[[], float],
        identity: str = "drumline",
        concurrency: int = CONCURRENCY,
        shown: Callable[[str, str], bool] = lambda _namespace, _name: True,
    ) -> None:
        self._client = client
        self._expectations = expectations
        self._objects = Objects(client, expectations, shown)
        self._events = Events(client, now, identity)
        self._concurrency = concurrency

    async def apply(self, owner: Owner, plan: Plan) -> Outcome:
        """Apply what can be applied; an ApiError ends it and is in the outcome. Raises LeaseLost."""
        outcome = Outcome()
        try:
            await self._stage(owner, plan.prepare, outcome)
            await self._status(owner, plan.intent, outcome)
            for stage in plan.actions:
                await self._stage(owner, stage, outcome)
            await self._status(owner, plan.status, outcome)
            await self._say(owner, plan.events)
            if plan.delete_self:
                await self._objects.delete_owner(owner)
        except ApiError as error:
            outcome.error = error
        return outcome

    async def _say(self, owner: Owner, events: Sequence[Event]) -> None:
        """Send the events, in their order but for a few at once: a service may have one for each of its groups."""
        for start in range(0, len(events), EVENTS):
            await asyncio.gather(*(self._events.send(owner, e) for e in events[start : start + EVENTS]))

    async def _stage(self, owner: Owner, stage: Sequence[Action], outcome: Outcome) -> None:
        """Run a stage; raises the gravest error, after everything under way has ended."""
        waiting = iter(stage)
        errors: list[tuple[str, ApiError | LeaseLost]] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(stage), self._concurrency)):
                group.create_task(self._work(owner, waiting, outcome, errors))
        if errors:
            outcome.failed, error = max(errors, key=lambda found: _gravity(found[1]))
            raise error

    async def _work(
        self,
        owner: Owner,
        waiting: Iterator[Action],
        outcome: Outcome,
        errors: list[tuple[str, ApiError | LeaseLost]],
    ) -> None:
        for action in waiting:
            try:
                await self._act(owner, action, outcome)
            except (ApiError, LeaseLost) as error:
                errors.append((_describe(action), error))
            if errors:
                return

    async def _act(self, owner: Owner, action: Action, outcome: Outcome) -> None:
        if isinstance(action, Create):
            action = replace(action, manifest=rendered(action.manifest))
        what = _describe(action)
        if isinstance(action, Create):
            made = await self._objects.create(owner, action)
            (outcome.created if made else outcome.found).append(what)
        elif isinstance(action, Delete):
            if await self._objects.delete(owner, action):
                outcome.deleted.append(what)
        elif isinstance(action, JsonPatch):
            if await self._objects.json_patch(action):
                outcome.applied.append(what)
        elif isinstance(action, Patch):
            if await self._objects.patch(action):
                outcome.applied.append(what)
        else:
            await self._objects.apply(owner, action)
            outcome.applied.append(what)

    async def _status(self, owner: Owner, status: Mapping[str, Any] | None, outcome: Outcome) -> None:
        """Write the whole status, provided that the owner is still the version that was decided upon."""
        if status is None:
            return
        outcome.failed = "status"
        version = outcome.resource_version or owner.resource_version
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/status", "value": status},
        ]
        written = await self._client.request(
            "PATCH", f"{owner.path}/status", body=patch, content_type=JSON_PATCH
        )
        outcome.resource_version = written["metadata"]["resourceVersion"]
        outcome.failed = ""
        self._expectations.expect_version(owner.uid, outcome.resource_version)


def _describe(action: Action) -> str:
    name = (
        action.name if isinstance(action, Delete | Patch | JsonPatch) else action.manifest["metadata"]["name"]
    )
    return f"{action.resource}/{name}"


def _gravity(error: ApiError | LeaseLost) -> int:
    return 2 if isinstance(error, LeaseLost) else int(isinstance(error, TerminalError))
