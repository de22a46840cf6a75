"""Mirrors what Dynamic Resource Allocation says of devices, where the API server serves it.

Slices, classes, templates and claims go to `core.gang.device_capacity`, which counts them. Where the API is not
served there are no devices, nothing is watched, and jobs with claims are refused by name. Then it is asked for again
like other schedulers' APIs: seldom, but soon once a gang has claims. What comes late counts once all of it has been seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_capacity import NOTHING_KNOWN, Devices
from drumline.core.gang.devices import Device, Key, read_claim, read_class, read_slice, read_template
from drumline.core.gang.types import GangRequest, Member, Pod, Refusal
from drumline.runtime.backends import ABSENT_SECONDS, REFRESH_SECONDS
from drumline.runtime.device_answers import Answers
from drumline.runtime.errors import ApiError, NotFound
from drumline.runtime.http import Client
from drumline.runtime.http_paths import PREFIXES, resource_path
from drumline.runtime.records import Document
from drumline.runtime.reflector import Reflector
from drumline.runtime.store import Store

T = TypeVar("T")

GROUP_VERSION: Final = PREFIXES["resourceslices"]
AGAIN_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


class Evaluator(Protocol):
    """What evaluates selectors, as `device_answers.Answers` does."""

    def __call__(self, expression: str, device: Device, namespaces: Collection[str] = ()) -> bool:
        """Whether the expression holds for a device. SelectorError, NotYetError."""

    async def run(self) -> None:
        """Find out what is asked for, until cancelled."""


class _Absent:
    """What counts devices while there are none; `wanted` is set once a gang has claims."""

    def __init__(self) -> None:
        self.wanted = asyncio.Event()

    def resolve(self, _request: GangRequest) -> Refusal:
        """Nothing is known."""
        self.wanted.set()
        return NOTHING_KNOWN

    def held(self, request: GangRequest) -> GangRequest:
        """As it is."""
        return request

    def forget(self, uid: str) -> None:
        """Nothing is kept of any gang."""


class DeviceWatch:
    """The reflectors of the four kinds. `changed` is called when devices came, went or changed hands."""

    def __init__(
        self,
        client: Client,
        capacity: Capacity,
        pods: Store[Pod],
        changed: Callable[[], None],
        evaluator: Callable[[Callable[[str], None]], Evaluator] = Answers,
    ) -> None:
        self.reflectors: tuple[Reflector[Any], ...] = ()
        self._client = client
        self._capacity = capacity
        self._pods = pods
        self._changed = changed
        self._devices: Devices | None = None
        self._answers = evaluator(self._on_answer)
        self._absent = _Absent()

    async def discover(self) -> None:
        """Set the reflectors up if the API is served, as soon as the API server says whether it is."""
        if await self._is_served():
            self.reflectors = self._mirrors(whole=True)
        else:
            self._capacity.devices = self._absent

    async def follow(self) -> None:
        """Evaluate selectors, until cancelled. Where the API was not served, wait for it, then mirror what it has."""
        async with asyncio.TaskGroup() as tasks:
            if not self.reflectors:
                await self._wait_for_it()
                mirrors = self._mirrors(whole=False)
                for mirror in mirrors:
                    tasks.create_task(mirror.run())
                await asyncio.gather(*(mirror.synced.wait() for mirror in mirrors))
                self._begin(mirrors)
            tasks.create_task(self._answers.run())

    async def _wait_for_it(self) -> None:
        wanted = self._absent.wanted
        while not await self._has_come():
            if wanted.is_set():
                await asyncio.sleep(ABSENT_SECONDS)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(wanted.wait(), REFRESH_SECONDS)
        logger.info("%s is served now; devices are counted", GROUP_VERSION)

    def _begin(self, mirrors: tuple[Reflector[Any], ...]) -> None:
        """All that they have has been seen."""
        self.reflectors = mirrors
        if self._devices is not None:
            self._devices.attach()
        self._changed()

    def _on_answer(self, expression: str) -> None:
        if self._devices is not None:
            self._devices.answered(expression)
            self._changed()

    def pod_seen(self, pod: Pod) -> None:
        """A pod of a gang came or changed."""
        if self._devices is not None and pod.member is not None:
            self._devices.pod_seen(pod.uid, pod.member)

    def _mirrors(self, *, whole: bool) -> tuple[Reflector[Any], ...]:
        devices = self._devices = Devices(self._capacity, self._answers, self._member_of, whole=whole)

        def mirror(
            resource: str, read: Callable[[Document], T | None], take: Callable[[T | None, T | None], None]
        ) -> Reflector[T]:
            def told(old: T | None, new: T | None) -> None:
                take(old, new)
                self._changed()

            return Reflector(self._client, resource_path(resource), read, told)

        return (
            mirror("deviceclasses", read_class, devices.set_class),
            mirror("resourceclaimtemplates", read_template, devices.set_template),
            mirror("resourceslices", read_slice, devices.set_slice),
            mirror("resourceclaims", read_claim, devices.set_claim),
        )

    async def _is_served(self) -> bool:
        while True:
            try:
                return await self._ask()
            except ApiError as error:  # one that has only begun says no to everybody
                logger.warning("cannot ask whether %s is served: %s", GROUP_VERSION, error)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _has_come(self) -> bool:
        """Whether it is served; one that can't tell is asked again in time."""
        try:
            return await self._ask()
        except ApiError as error:
            logger.warning("cannot ask whether %s is served: %s", GROUP_VERSION, error)
            return False

    async def _ask(self) -> bool:
        try:
            await self._client.request("GET", GROUP_VERSION)
        except NotFound:
            return False
        return True

    def _member_of(self, key: Key, uid: str) -> Member | None:
        pod = self._pods.get(*key)
        return pod.member if pod is not None and pod.uid == uid else None
