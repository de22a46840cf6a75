"""The InferenceServices of a modelled seed: they come, are changed, and have to be as their specs say in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from e2e.chaos.model.answers import Refused
from e2e.chaos.model.server import Document, Key, Server
from e2e.chaos.services import Service, unconverged


@dataclass
class Serving:
    """What users do to the services of a namespace."""

    server: Server
    space: str
    services: Sequence[Service]

    def schedule(self) -> None:
        """Do everything at its time."""
        loop = asyncio.get_running_loop()
        for service in self.services:
            loop.call_at(service.begins, self._begin, service)
            for at, what in service.actions:
                loop.call_at(at, self._act, service, what)

    def _begin(self, service: Service) -> None:
        self.server.create("inferenceservices", service.manifest(self.space, "pool"))

    def _act(self, service: Service, what: str) -> None:
        if self._find(service) is None:
            return
        if what == "delete":
            self.server.delete("inferenceservices", (self.space, service.name))
            return
        resource, name, operations = service.change(what)
        try:
            self.server.json_patch(resource, (self.space, name), operations, status=False)
        except Refused:  # its InferenceRole is not there yet: it may be scaled once it is
            loop = asyncio.get_running_loop()
            if not service.is_overtaken(what, loop.time()):
                loop.call_later(1.0, self._act, service, what)

    def unconverged(self) -> Iterator[str]:
        """What is not as it should be in the end."""
        there = {d["metadata"]["name"]: d for d in self.server.all("inferenceservices")}
        return unconverged(self.services, there, self.server.all("pods"))

    def _find(self, service: Service) -> Document | None:
        key: Key = (self.space, service.name)
        return self.server.find("inferenceservices", key)
