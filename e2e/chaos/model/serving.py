"""The InferenceServices of a modelled seed: they come, are changed, and have to be as their specs say in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from e2e.chaos import judge_services, pods
from e2e.chaos.model.answers import Refused
from e2e.chaos.model.server import Document, Key, Server
from e2e.chaos.services import VERSION, Service


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
            asyncio.get_running_loop().call_later(1.0, self._act, service, what)

    def unconverged(self) -> Iterator[str]:
        """What is not as it should be in the end."""
        for service in self.services:
            found = self._find(service)
            if (found is None) is not service.gone:
                yield f"{service.name} is {'gone' if found is None else 'there'}"
            elif found is not None and (why := self._why(service, found)):
                yield f"{service.name}: {why}"

    def _why(self, service: Service, found: Document) -> str:
        replicas = {role.name: service.replicas(role) for role in service.roles}
        if why := judge_services.unconverged(found, replicas):
            return why
        mine = [p for p in self.server.all("pods") if pods.owner_of(p) == found["metadata"]["uid"]]
        said = {p["metadata"]["annotations"][VERSION] for p in mine}
        return "" if said == {service.version()} else f"its pods are of versions {sorted(said)}"

    def _find(self, service: Service) -> Document | None:
        key: Key = (self.space, service.name)
        return self.server.find("inferenceservices", key)
