"""How a job that waits has nodes added that are not there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drumline.api.provisioning import Provisioning, ProvisioningMode
from drumline.core.gang.explain import Explanation
from drumline.core.training.provisioning import WANT_OF_NODES, asked_for, until_asking
from drumline.core.training.view import View


@dataclass(frozen=True, slots=True)
class NodesWish:
    """By what a gang asks for nodes, and when. Seconds."""

    by: Provisioning
    due_in: float | None  # None = it has not been refused nodes yet, as far as its status says

    @property
    def means(self) -> str:
        """What an autoscaler sees."""
        if self.by.mode is ProvisioningMode.REQUEST:
            return f"a ProvisioningRequest of class {self.by.class_name}"
        return "pods that are pinned to no node"

    def raw(self) -> dict[str, Any]:
        """As data, in names of the wire."""
        due = None if self.due_in is None else round(self.due_in)
        return {"mode": self.by.mode.value, "afterSeconds": self.by.after_seconds, "inSeconds": due}


def wish_of(view: View, found: Explanation) -> NodesWish | None:
    """How the gang asks for nodes, if that is what it waits for."""
    by, refusal = asked_for(view), found.ever or found.refusal
    if by is None or refusal is None or refusal.reason not in WANT_OF_NODES:
        return None
    return NodesWish(by, None if view.status.refused_since is None else until_asking(view) or 0.0)
