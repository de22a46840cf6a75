"""All adapters, and which of them a cluster can have.

Of one backend there may be several, one for each version of its API, the newest first: the first of them for which the
cluster serves everything is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from drumline.core.gang.backends import coscheduling, kai, kueue, native, volcano
from drumline.core.gang.backends.base import BUILTIN, GangBackend, Need
from drumline.core.gang.repulsion import HOSTNAME
from drumline.core.gang.topology import NODE_LEVEL, Hierarchy
from drumline.core.gang.types import EMPTY


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """What the configuration says of other schedulers: their names, and what they call our topology."""

    coscheduling_scheduler: str = coscheduling.SCHEDULER
    volcano_scheduler: str = volcano.SCHEDULER
    volcano_tiers: Mapping[str, str] = field(default_factory=lambda: EMPTY)  # node label → tier
    kai_scheduler: str = kai.SCHEDULER
    kai_topology: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who admits a gang."""

    name: str = BUILTIN
    adapter: GangBackend | None = None  # None: this operator, or one that is not to be had
    absent: str = ""  # what the cluster lacks for it

    @property
    def foreign(self) -> bool:
        """Whether somebody else finds the gang's nodes."""
        return self.name != BUILTIN


OURS: Final = Choice()
Adapters = Mapping[str, tuple[GangBackend, ...]]


def adapters(settings: BackendSettings) -> Adapters:
    """Every adapter by its backend's name, the newest version first."""
    return {
        "native": native.VERSIONS,
        "kueue": (kueue.Kueue(),),
        "volcano": (volcano.Volcano(settings.volcano_scheduler, settings.volcano_tiers),),
        "coscheduling": (coscheduling.Coscheduling(settings.coscheduling_scheduler),),
        "kai": (kai.Kai(settings.kai_scheduler, settings.kai_topology),),
    }


def choose(name: str, known: Adapters, served: Collection[Need]) -> Choice:
    """The adapter for a backend where these kinds are served."""
    if name == BUILTIN:
        return OURS
    candidates = known.get(name, ())
    for adapter in candidates:
        if all(need in served for need in adapter.needs):
            return Choice(name, adapter)
    wanted = " or ".join(" with ".join(_spelt(need) for need in a.needs) for a in candidates)
    text = f"the cluster does not serve {wanted}" if wanted else "there is no such backend"
    return Choice(name, None, text)


def presumed(name: str) -> Choice:
    """The backend where no cluster says what it serves: the oldest version of its API that there is an adapter to."""
    known = adapters(BackendSettings())
    return choose(name, known, known[name][-1].needs) if name in known else OURS


def label_of(hierarchy: Hierarchy | None, level: str) -> str:
    """The node label of a topology level; "" = it has none."""
    levels = hierarchy.levels if hierarchy is not None else ()
    found = next((known.label for known in levels if known.name == level), "")
    return found or (HOSTNAME if level == NODE_LEVEL else "")


def _spelt(need: Need) -> str:
    return f"{need.kind} {need.group}/{need.version}"
