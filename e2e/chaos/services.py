"""InferenceServices by the seed: of which roles each is, what is done to it, and how it has to end.

A service stays until it is deleted, so those of a seed ask for few enough chips that every job still fits beside them,
wherever their pods came to lie.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from e2e.chaos import judge_services, pods
from e2e.chaos.scripts import POOL, Room

Document = Mapping[str, Any]

SHARE = 10  # chips that all services of a seed ask for at most, with those that stand in for others
GROUP = (1, 1, 2, 3)  # pods of a group
MOST = 3  # groups of a role
VERSION = "chaos.drumline.dev/version"  # annotation of the template: another one is another revision


@dataclass(frozen=True, slots=True)
class Role:
    """One role. `external`: its InferenceRole says how many groups it has."""

    name: str
    replicas: int
    size: int
    chips: int
    external: bool
    leader_first: bool


@dataclass(frozen=True, slots=True)
class Service:
    """One service. Times are seconds since the seed began, each of an action.

    `scale ROLE N`, `roll N` to version N, `suspend`, `resume`, `delete`.
    """

    name: str
    roles: tuple[Role, ...]
    surge: int
    unavailable: int
    begins: float
    actions: tuple[tuple[float, str], ...]
    priority: str = ""
    queue: str = ""

    @property
    def gone(self) -> bool:
        """Whether it is deleted in the end."""
        return any(what == "delete" for _, what in self.actions)

    def replicas(self, role: Role) -> int:
        """Groups that a role has to have in the end."""
        scaled = [int(what.split()[2]) for _, what in self.actions if what.startswith(f"scale {role.name} ")]
        return scaled[-1] if scaled else role.replicas

    def version(self) -> str:
        """Version that all groups have to be of in the end."""
        rolled = [what.split()[1] for _, what in self.actions if what.startswith("roll ")]
        return rolled[-1] if rolled else "0"

    def is_overtaken(self, what: str, now: float) -> bool:
        """Whether by now a later action has told the same role another number, so that `what` is not tried again."""
        name = what.split()[1]
        told = [w for at, w in self.actions if at <= now and w.startswith(f"scale {name} ")]
        return bool(told) and told[-1] != what

    def manifest(self, namespace: str, pool: str) -> dict[str, Any]:
        """The InferenceService, whose pods land on the hosts of that pool."""
        spec = {
            "engine": "custom",
            "roles": [_role(role, pool) for role in self.roles],
            "rollout": {"maxSurge": self.surge, "maxUnavailable": self.unavailable},
            "drain": {"settleSeconds": 1, "timeoutSeconds": 5},
            "scheduling": {"gangTimeoutSeconds": 20},
            "failurePolicy": {"maxRestarts": 1000, "backoff": {"initialSeconds": 1, "maxSeconds": 3}},
        }
        spec |= {"priorityClassName": self.priority} if self.priority else {}
        spec |= {"queue": self.queue} if self.queue else {}
        return {
            "apiVersion": "drumline.dev/v1alpha1",
            "kind": "InferenceService",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": spec,
        }

    def change(self, what: str) -> tuple[str, str, list[dict[str, Any]]]:
        """(resource, name, JSON patch) of an action that changes something."""
        verb, *words = what.split()
        if verb in ("suspend", "resume"):
            operations = [{"op": "add", "path": "/spec/suspend", "value": verb == "suspend"}]
        elif verb == "roll":
            operations = [
                {"op": "replace", "path": f"/spec/roles/{n}/template/metadata/annotations", "value": value}
                for n, value in enumerate([{VERSION: words[0]}] * len(self.roles))
            ]
        else:
            number, role = next((n, r) for n, r in enumerate(self.roles) if r.name == words[0])
            if role.external:
                operations = [{"op": "replace", "path": "/spec/replicas", "value": int(words[1])}]
                return "inferenceroles", f"{self.name}-{role.name}", operations
            path = f"/spec/roles/{number}/replicas"
            operations = [{"op": "replace", "path": path, "value": int(words[1])}]
        return "inferenceservices", self.name, operations


def _role(role: Role, pool: str) -> dict[str, Any]:
    pod = {
        "terminationGracePeriodSeconds": 1,
        "nodeSelector": {POOL: pool},
        "containers": [{"name": "engine", "image": "pause:3.10"}],
    }
    body = {
        "name": role.name,
        "replicas": role.replicas,
        "groupSize": role.size,
        "port": 8000,
        "startPolicy": "LeaderFirst" if role.leader_first else "Parallel",
        "accelerator": {"type": "nvidia-h100-80gb", "chipsPerWorker": role.chips},
        "template": {"metadata": {"annotations": {VERSION: "0"}}, "spec": pod},
    }
    scaling = {"mode": "External", "minReplicas": 1, "maxReplicas": MOST}
    return {**body, "autoscaling": scaling} if role.external else body


def beside(seed: int, seconds: float, hosts: int, chips: int) -> tuple[list[Service], Room]:
    """The services of a seed, which every other one has, and the room that its jobs have beside them.

    With none, one of the hosts may be away.
    """
    chance = random.Random(f"services of {seed}")
    if chance.random() < 0.5:
        return [], Room((hosts - 1) * chips)
    return draw_services(chance, seconds), Room(hosts * chips - SHARE, hosts)


def draw_services(chance: random.Random, seconds: float, share: int = SHARE) -> list[Service]:
    """Up to three services that begin within the first third of `seconds`, and ask for at most `share` chips."""
    found: list[Service] = []
    for number in range(chance.randint(1, 3)):
        surge, unavailable = chance.choice(((1, 0), (1, 0), (0, 1), (1, 1)))
        roles: list[Role] = []
        for name in chance.choice((("serve",), ("prefill", "decode"))):
            role = _drawn(chance, name, share, surge)
            if role is not None:
                roles.append(role)
                share -= most_chips(role, surge)
        if roles:
            begins = round(chance.uniform(0, seconds / 3), 2)
            actions = _actions(chance, roles, begins, seconds)
            found.append(
                Service(f"service-{number}", tuple(roles), surge, unavailable, begins, actions, _rank(chance))
            )
    return found


def most_chips(role: Role, surge: int) -> int:
    """Chips that a role asks for at most, at any number of groups that it is told to have."""
    return (MOST + surge) * role.size * role.chips


def _rank(chance: random.Random) -> str:
    return chance.choice(("", "", "chaos-high", "chaos-low"))


def _drawn(chance: random.Random, name: str, share: int, surge: int) -> Role | None:
    """A role within that share; None when there is none so small."""
    shapes = [(size, chips) for size in GROUP for chips in (1, 2) if (MOST + surge) * size * chips <= share]
    if not shapes:
        return None
    size, chips = chance.choice(shapes)
    external, first = chance.random() < 0.4, chance.random() < 0.4
    return Role(name, chance.randint(1, MOST), size, chips, external, first)


def _actions(
    chance: random.Random, roles: list[Role], begins: float, seconds: float
) -> tuple[tuple[float, str], ...]:
    moments = sorted(round(chance.uniform(begins + 2, seconds), 2) for _ in range(chance.randint(2, 6)))
    found: list[tuple[float, str]] = []
    for version, at in enumerate(moments):
        if chance.random() < 0.5:
            found.append((at, f"roll {version + 1}"))
        else:
            found.append((at, f"scale {chance.choice(roles).name} {chance.randint(1, MOST)}"))
    if chance.random() < 0.15:
        suspended = round(chance.uniform(begins, seconds * 0.8), 2)
        found += [(suspended, "suspend"), (round(chance.uniform(suspended + 0.5, seconds), 2), "resume")]
    if chance.random() < 0.2:
        found.append((round(chance.uniform(begins + 1, seconds), 2), "delete"))
    return tuple(sorted(found))


def unconverged(
    services: Sequence[Service], there: Mapping[str, Document], live: Iterable[Document]
) -> Iterator[str]:
    """What is not as it should be in the end. `there`: services by name; `live`: pods of theirs, among others."""
    found = list(live)
    for service in services:
        its = there.get(service.name)
        if (its is None) is not service.gone:
            yield f"{service.name} is {'gone' if its is None else 'there'}"
        elif its is not None and (why := _unconverged(service, its, found)):
            yield f"{service.name}: {why}"


def _unconverged(service: Service, its: Document, live: Iterable[Document]) -> str:
    if why := judge_services.unconverged(its, {role.name: service.replicas(role) for role in service.roles}):
        return why
    mine = [p for p in live if pods.owner_of(p) == its["metadata"]["uid"]]
    said = {p["metadata"]["annotations"][VERSION] for p in mine}
    return "" if said == {service.version()} else f"its pods are of versions {sorted(said)}"
