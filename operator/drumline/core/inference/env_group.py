"""The variables that the pods of a group find, whatever the engine.

``DRUMLINE_*`` are ours; ``LWS_*`` say the same in the words of LeaderWorkerSet, whose users' scripts read them.
Ours stand before the user's, so that ``$(DRUMLINE_WORKER)`` expands in the user's variables and arguments. What
the user set in a container is left as it is there (`gang.pods.merged_env`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from drumline.api.engines import EnvironmentStyle
from drumline.core.gang import tpu
from drumline.core.gang.names import fqdn
from drumline.core.gang.variables import EnvVar, variables
from drumline.core.inference import names

MASTER_PORT: Final = 29500  # torch's own default
RAY_PORT: Final = 6379  # the port of a Ray head


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What all pods of a group's attempt have in common. `peers`: of other roles, where their leaders answer."""

    service: str
    service_uid: str
    namespace: str
    role: str
    group: int
    attempt: int
    revision: str
    size: int
    port: int
    cluster_domain: str
    peers: tuple[tuple[str, str], ...] = ()  # (role, host:port)

    @property
    def leader(self) -> str:
        """Host of worker 0, as the full name that the kubelet writes into its own hosts file."""
        host = names.hostname(self.service, self.role, self.group, 0)
        return fqdn(host, names.peers(self.service), self.namespace, self.cluster_domain)

    @property
    def hosts(self) -> list[str]:
        """Short names ``<host>.<service>`` of the group's pods, in order."""
        under = names.peers(self.service)
        return [
            f"{names.hostname(self.service, self.role, self.group, worker)}.{under}"
            for worker in range(self.size)
        ]


def peer_variable(role: str) -> str:
    """Variable that tells where another role's leaders answer."""
    return f"DRUMLINE_PEERS_{role.upper().replace('-', '_')}"


def shared_env(facts: GroupFacts) -> list[EnvVar]:
    """Variables that all pods of the group have in the same form."""
    return variables(
        [
            ("DRUMLINE_SERVICE", facts.service),
            ("DRUMLINE_SERVICE_NAMESPACE", facts.namespace),
            ("DRUMLINE_SERVICE_UID", facts.service_uid),
            ("DRUMLINE_ROLE", facts.role),
            ("DRUMLINE_GROUP", facts.group),
            ("DRUMLINE_GROUP_SIZE", facts.size),
            ("DRUMLINE_ATTEMPT", facts.attempt),
            ("DRUMLINE_REVISION", facts.revision),
            ("DRUMLINE_LEADER_ADDRESS", facts.leader),
            ("DRUMLINE_PORT", facts.port),
            *((peer_variable(role), address) for role, address in facts.peers),
            ("LWS_LEADER_ADDRESS", facts.leader),
            ("LWS_GROUP_SIZE", facts.size),
        ]
    )


def worker_env(worker: int) -> list[EnvVar]:
    """Variables that tell this pod of the group from the others."""
    return variables([("DRUMLINE_WORKER", worker), ("LWS_WORKER_INDEX", worker)])


def meeting_env(facts: GroupFacts, styles: Sequence[EnvironmentStyle]) -> list[EnvVar]:
    """How pods of a group of several find each other, in the same form for all; nothing for one pod alone."""
    if facts.size == 1:
        return []
    found: list[tuple[str, object]] = []
    if EnvironmentStyle.TORCH in styles:
        found += [("MASTER_ADDR", facts.leader), ("MASTER_PORT", MASTER_PORT), ("NNODES", facts.size)]
    if EnvironmentStyle.PROCESS in styles:
        found += [("WORLD_SIZE", facts.size)]
    if EnvironmentStyle.RAY in styles:
        found += [("RAY_ADDRESS", f"{facts.leader}:{RAY_PORT}")]
    return variables(found)


def meeting_worker_env(facts: GroupFacts, styles: Sequence[EnvironmentStyle], worker: int) -> list[EnvVar]:
    """The pod's place among them."""
    if facts.size == 1:
        return []
    rank = [("NODE_RANK", worker)] if EnvironmentStyle.TORCH in styles else []
    process = [("RANK", worker)] if EnvironmentStyle.PROCESS in styles else []
    return variables([*rank, *process])


def tpu_env(facts: GroupFacts) -> list[EnvVar]:
    """What libtpu wants, in the same form for all pods.

    The lists stand in every pod: a group goes with its pods, and nothing of it is left behind to be deleted.
    """
    return [*variables(tpu.process_port(facts.size)), *tpu.inline_lists(facts.hosts)]


def tpu_worker_env(facts: GroupFacts, worker: int) -> list[EnvVar]:
    """The pod's place in the slice."""
    return variables(tpu.identity(f"{names.base(facts.service, facts.role)}-{facts.group}", worker))
