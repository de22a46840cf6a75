"""A namespace's quotas as last listed, less what gangs were granted that ``status.used`` may not show yet.

A grant is a claim on its namespace's quotas. The claim stands while the grant is on its way into the job's
status, and then for as long as creating the pods may take, plus the age that a list may have: from then on the
pods themselves are in ``status.used``. For a moment both count. That holds a gang back a little too long, and
never begins one that its namespace has no room for.

Claims are lost with the operator. Its successor knows which gangs had begun and were not whole, but not what
webhooks and LimitRanges make of their pods. So such a gang is inherited: until its pods must have been created,
nobody begins in its namespace if that has quotas.

Most namespaces have no quota. Which ones have is mirrored by a watch (`follow`), so that only these are listed: a list
for each of a thousand namespaces every other second would cost the API server more than all their jobs. A quota that
the watch has yet to show is to us as one that is made a moment later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from drumline.api.reasons import Reason
from drumline.core.gang.quota import Role, check_quota
from drumline.core.gang.types import Refusal
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.reflector import Reflector
from drumline.runtime.store import Store

QUOTA_SECONDS = 2.0  # how long a list is good for
LIST_SECONDS = 2.0  # time limit of one try
CLAIM_SECONDS = 5.0  # older than any list that is still good for something
PODS_PER_SECOND = 100.0  # a cautious rate of creation
INHERITED = (
    "gangs that began before the operator restarted are creating pods that the quotas do not show yet; "
    "the next look is in a moment"
)


@dataclass(frozen=True, slots=True)
class _Claim:
    namespace: str
    roles: tuple[Role, ...]
    pods: int
    inherited: bool = False
    until: float = inf


class Quotas:
    """Quotas of every namespace in which gangs wait. `clock` gives seconds, monotonic; `namespace` "" = all."""

    def __init__(self, client: Client, clock: Callable[[], float], namespace: str = "") -> None:
        self._client = client
        self._clock = clock
        self._mirror = Reflector(
            client,
            resource_path("resourcequotas", namespace),
            _namespace_of,
            store=Store[str]({"namespace": lambda found: found}),
        )
        self._lists: dict[str, tuple[float, list[Mapping[str, Any]]]] = {}  # → good until, quotas
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._claims: dict[str, _Claim] = {}  # by gang
        self._pruned_at = 0.0
        self._as_of: float | None = None  # the moment that a look at many gangs goes by

    async def follow(self) -> None:
        """Mirror which namespaces have quotas, until cancelled. Without it every namespace is listed."""
        await self._mirror.run()

    @contextmanager
    def as_of_now(self) -> Iterator[None]:
        """Within, all is judged as of this moment, however long it takes: lists and claims grow old together."""
        self._as_of = self._clock()
        try:
            yield
        finally:
            self._as_of = None

    def fresh(self, namespace: str) -> bool:
        """Whether `refusal` can tell without asking."""
        listed = namespace in self._lists and self._lists[namespace][0] >= self._now()
        return listed or self._has_none(namespace)

    async def refresh(self, namespace: str) -> None:
        """List the namespace's quotas unless they are fresh; many may wait for one list. Raises ApiError."""
        if self.fresh(namespace):
            return
        while True:
            task = self._asking.get(namespace)
            if task is None:
                task = self._asking[namespace] = asyncio.create_task(self._list(namespace))
                task.add_done_callback(lambda done: self._listed(namespace, done))
            await asyncio.shield(task)
            if namespace in self._lists:  # else the loop stood still, and another list has swept it out
                return

    def refusal(self, uid: str, namespace: str, roles: Sequence[Role]) -> Refusal | None:
        """Why the namespace has no room for this gang. KeyError when its quotas are not known."""
        quotas = [] if self._has_none(namespace) else self._lists[namespace][1]
        refusal = check_quota(quotas, roles)
        if refusal is not None or not quotas:
            return refusal
        if any(c.inherited for c in self._others(uid, namespace)):
            return Refusal(Reason.NAMESPACE_QUOTA, INHERITED)
        others = self._claimed(uid, namespace)
        refusal = check_quota(quotas, [*roles, *others]) if others else None
        if refusal is None:
            return None
        return replace(refusal, message=f"{refusal.message} (together with gangs that are just beginning)")

    def claim(self, uid: str, namespace: str, roles: Sequence[Role]) -> None:
        """The gang was granted its nodes and will create its pods."""
        if self._clock() - self._pruned_at > CLAIM_SECONDS:
            self._prune()
        self._claims[uid] = _Claim(namespace, tuple(roles), sum(count for _, _, count in roles))

    def inherit(self, uid: str, namespace: str, pods: int) -> None:
        """An earlier leader began this gang, and not all of its pods were there yet."""
        self._claims[uid] = _Claim(namespace, (), pods, inherited=True)

    def settle(self, uid: str) -> None:
        """The gang begins, or will never; its claim ends when its pods must have been created."""
        claim = self._claims.get(uid)
        if claim is not None and claim.until == inf:
            until = self._clock() + CLAIM_SECONDS + claim.pods / PODS_PER_SECOND
            self._claims[uid] = replace(claim, until=until)

    def close(self) -> None:
        """Cancel what is under way."""
        for task in self._asking.values():
            task.cancel()

    def _claimed(self, uid: str, namespace: str) -> list[Role]:
        return [role for claim in self._others(uid, namespace) for role in claim.roles]

    def _others(self, uid: str, namespace: str) -> list[_Claim]:
        self._prune()
        return [c for u, c in self._claims.items() if u != uid and c.namespace == namespace]

    def _prune(self) -> None:
        self._pruned_at = now = self._now()
        self._claims = {u: c for u, c in self._claims.items() if c.until >= now}

    def _now(self) -> float:
        return self._clock() if self._as_of is None else self._as_of

    def _has_none(self, namespace: str) -> bool:
        """Whether a mirror that runs shows none there: one that has stopped may miss a quota for long."""
        mirror = self._mirror
        runs = mirror.synced.is_set() and not mirror.outdated and mirror.error is None
        return runs and not mirror.store.by("namespace", namespace)

    async def _list(self, namespace: str) -> None:
        path = resource_path("resourcequotas", namespace)
        found = await self._client.request("GET", path, seconds=LIST_SECONDS)
        now = self._clock()
        self._lists = {n: known for n, known in self._lists.items() if known[0] >= now}
        self._lists[namespace] = (now + QUOTA_SECONDS, list(found.get("items") or ()))

    def _listed(self, namespace: str, task: asyncio.Task[None]) -> None:
        del self._asking[namespace]
        if not task.cancelled():
            task.exception()  # those who wait for it hear of it; if nobody does, nobody misses it


def _namespace_of(quota: Mapping[str, Any]) -> str:
    return str(quota["metadata"]["namespace"])
