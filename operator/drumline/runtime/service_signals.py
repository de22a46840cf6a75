"""What the engines of all services say, kept in memory by the leader, and who is to hear of it.

    reconcile → follow: which leaders of the service are up, and how often they are worth a look
    every second: look at those that are due → samples → windows → the autoscaler's word
    → a service is looked at again only where a decision may wait for what changed

A group that drains is looked at every second, one whose numbers somebody decides by every five, the others now and
then. Metrics that can't be had are visible as such (`GroupSignals.failing_since`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import aiohttp

from drumline.api.inference_scaling import ScalingMode
from drumline.api.inference_status import GroupStatus, RolloutPhase
from drumline.core.inference.groups import every, live
from drumline.core.inference.observation import Observation
from drumline.core.inference.render import metrics_endpoint
from drumline.core.inference.signals import Scaling, Signals
from drumline.core.inference.view import View, is_going
from drumline.runtime.service_held import held, may_hold
from drumline.runtime.service_scrape import Leader, Target, look

Key = tuple[str, str]
Group = tuple[str, int]
Scale = Callable[[Observation, float], Mapping[str, Scaling]]

TICK_SECONDS: Final = 1.0
DRAINING_SECONDS: Final = 1.0
DECIDING_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 15.0
LOOKS: Final = 64  # at once
LEADER: Final = 0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Service:
    key: Key
    observation: Observation
    leaders: dict[Group, Leader] = field(default_factory=dict)
    scaling: Mapping[str, Scaling] = field(default_factory=dict)
    scaled_at: float = 0.0


class ServiceSignals:
    """`now` gives Unix seconds; `wake` has a service looked at. `scale` is the autoscaler."""

    def __init__(self, now: Callable[[], float], wake: Callable[[Key], None]) -> None:
        self.scale: Scale = _nobody
        self.held: Callable[[str, float], None] = (
            _unheard  # uid, requests that somebody holds for the service
        )
        self._now = now
        self._wake = wake
        self._services: dict[str, _Service] = {}  # by uid
        self._slots = asyncio.Semaphore(LOOKS)

    def of(self, uid: str) -> Signals:
        """Everything known of a service now."""
        service = self._services.get(uid)
        if service is None:
            return Signals()
        return Signals(
            {group: leader.signals() for group, leader in service.leaders.items()}, service.scaling
        )

    def follow(self, observation: Observation) -> None:
        """Look at the leaders that this observation shows, from now on."""
        meta = observation.service
        service = self._services.get(meta.uid)
        if service is None:
            service = self._services[meta.uid] = _Service((meta.namespace, meta.name), observation)
        service.observation = observation
        known = service.leaders
        service.leaders = {g: _kept(known.get(g), leader) for g, leader in _leaders(observation)}

    def forget(self, uid: str) -> None:
        """The service is gone."""
        self._services.pop(uid, None)

    async def run(self) -> None:
        """Look for as long as this replica leads."""
        connector = aiohttp.TCPConnector(limit=LOOKS, force_close=True)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            rounds: dict[str, asyncio.Task[None]] = {}
            try:
                while True:
                    rounds = {uid: task for uid, task in rounds.items() if not task.done()}
                    for uid, service in list(self._services.items()):
                        if uid not in rounds and self._due(service):
                            rounds[uid] = asyncio.create_task(self._round_safely(session, service))
                    await asyncio.sleep(TICK_SECONDS)
            finally:
                for task in rounds.values():
                    task.cancel()
                await asyncio.gather(*rounds.values(), return_exceptions=True)

    def _due(self, service: _Service) -> bool:
        now = self._now()
        return self._decides(service, now) or any(leader.due <= now for leader in service.leaders.values())

    def _decides(self, service: _Service, now: float) -> bool:
        return _scales(service.observation) and now >= service.scaled_at + DECIDING_SECONDS

    async def _round_safely(self, session: aiohttp.ClientSession, service: _Service) -> None:
        """One odd service keeps no other from being looked at."""
        try:
            await self._round(session, service)
        except Exception:
            logger.exception("the engines of %s/%s cannot be looked at", *service.key)

    async def _round(self, session: aiohttp.ClientSession, service: _Service) -> None:
        now = self._now()
        due = [leader for leader in service.leaders.values() if leader.due <= now]
        for leader in due:
            leader.due = now + leader.interval
        await asyncio.gather(*(self._look(session, leader) for leader in due))
        if self._decides(service, now):
            waiting = await held(session, service.observation) if may_hold(service.observation) else 0.0
            self.held(service.observation.service.uid, waiting)
        if self._rescaled(service) or any(map(_is_drained, due)) or (due and _is_canary(service.observation)):
            self._wake(service.key)

    async def _look(self, session: aiohttp.ClientSession, leader: Leader) -> None:
        async with self._slots:
            await look(session, leader, self._now)

    def _rescaled(self, service: _Service) -> bool:
        """Ask the autoscaler anew when it is time; true if a number that it gives is another now."""
        now = self._now()
        if not self._decides(service, now):
            return False
        service.scaled_at = now
        uid = service.observation.service.uid
        before = {role: scaling.desired for role, scaling in service.scaling.items()}
        service.scaling = self.scale(replace(service.observation, signals=self.of(uid)), now)
        return before != {role: scaling.desired for role, scaling in service.scaling.items()}


def _leaders(observation: Observation) -> Iterable[tuple[Group, Leader]]:
    """Leaders that are up, of groups that serve, are about to, or drain."""
    view = View(observation, 0.0, observation.status)
    deciding = _scales(observation) or _is_canary(observation)
    for role, group in every(view):
        pod = view.pods(role, group).get(LEADER)
        target = _target(view, role, group, pod.ips[0] if pod is not None and pod.ips else "")
        if target is None or pod is None or pod.terminal or not live(group):
            continue
        interval = DECIDING_SECONDS if deciding else IDLE_SECONDS
        draining = is_going(group)
        interval = DRAINING_SECONDS if draining else interval
        yield (
            (role, group.id),
            Leader(
                group.attempt,
                target,
                interval,
                in_service=bool(pod.in_service and pod.ready),
                draining=draining,
            ),
        )


def _target(view: View, role: str, group: GroupStatus, address: str) -> Target | None:
    spec = view.spec_of(group) if view.obs.spec is not None else None
    if spec is None or not address or view.role_spec_of(role, group) is None:
        return None
    endpoint = metrics_endpoint(spec, role)
    return Target(address, *endpoint) if endpoint is not None else None


def _kept(known: Leader | None, new: Leader) -> Leader:
    """What was seen of this very attempt stays; how often it is looked at may change."""
    if known is None or (known.attempt, known.target) != (new.attempt, new.target):
        return new
    if new.interval < known.interval:
        known.due = 0.0
    known.interval, known.in_service, known.draining = new.interval, new.in_service, new.draining
    return known


def _is_drained(leader: Leader) -> bool:
    latest = leader.track.latest
    return leader.draining and (latest is None or latest.in_flight in (0, None))


def _is_canary(observation: Observation) -> bool:
    return observation.status.rollout.phase is RolloutPhase.CANARY


def _scales(observation: Observation) -> bool:
    roles = observation.spec.roles if observation.spec is not None else ()
    return any(r.autoscaling is not None and r.autoscaling.mode is ScalingMode.BUILTIN for r in roles)


def _unheard(_uid: str, _requests: float) -> None:
    return


def _nobody(_observation: Observation, _now: float) -> Mapping[str, Scaling]:
    return {}
