"""Nodes that are not there yet: how a gang that waits for them makes a cluster's autoscaler see it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import Field

from drumline.api.base import ApiModel

RULES: Final = (  # CEL at `spec.scheduling`: expression, message, field
    (
        "!has(self.provisioning) || self.provisioning.mode == 'Never' || !has(self.backend) || self.backend == 'builtin'",
        "scheduling.provisioning needs scheduling.backend builtin: another backend shows its pods to autoscalers itself",
        ".provisioning",
    ),
    (
        "!has(self.provisioning) || self.provisioning.mode == 'Never' || self.placement.policy != 'Required'",
        "scheduling.provisioning and placement policy Required exclude each other: nobody knows where new nodes are",
        ".provisioning",
    ),
)


class ProvisioningMode(StrEnum):
    """How nodes are asked for."""

    NEVER = "Never"
    UNPINNED = "Unpinned"


class Provisioning(ApiModel):
    """How a gang that the nodes there are can't hold asks for more."""

    mode: ProvisioningMode = Field(
        default=ProvisioningMode.NEVER,
        description="`Never`: it waits. `Unpinned`: its attempt begins with pods that are pinned to no node, so that an "
        "autoscaler sees them and adds nodes; its quota is taken as if it had them.",
    )
    after_seconds: int = Field(
        default=30,
        ge=0,
        le=86400,
        description="Seconds that the gang is refused before it asks for nodes.",
        examples=[30],
    )
    timeout_seconds: int = Field(
        default=900,
        ge=10,
        le=86400,
        description="Seconds from when the pods of such an attempt were created, within which all of them have to be "
        "bound. Else it ends, whatever part of it has nodes, and the next of `accelerator.candidates` is tried, or the same "
        "again; both after a delay that doubles from a minute to an hour.",
        examples=[900],
    )
