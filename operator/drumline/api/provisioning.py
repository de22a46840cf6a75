"""Nodes that are not there yet: how a gang that waits for them has a cluster's autoscaler add them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from drumline.api.base import ApiModel

# of autoscaling.x-k8s.io/v1
CLASS_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
MAX_CLASS_NAME: Final = 253
MAX_PARAMETERS: Final = 100
MAX_PARAMETER: Final = 255
MAX_RESOURCES: Final = 16

RULES: Final = (  # CEL at `spec.scheduling`: expression, message, field
    (
        "!has(self.provisioning) || self.provisioning.mode == 'Never' || !has(self.backend) || self.backend == 'builtin'",
        "scheduling.provisioning needs scheduling.backend builtin: another backend shows its pods to autoscalers itself",
        ".provisioning",
    ),
    (
        "!has(self.provisioning) || self.provisioning.mode != 'Unpinned' || self.placement.policy != 'Required'",
        "provisioning mode Unpinned and placement policy Required exclude each other: nobody knows where new nodes are",
        ".provisioning",
    ),
    (
        "!has(self.provisioning) || (self.provisioning.mode == 'ProvisioningRequest') == has(self.provisioning.className)",
        "scheduling.provisioning.className is required with mode ProvisioningRequest, and not allowed with another",
        ".provisioning.className",
    ),
    (
        "!has(self.provisioning) || self.provisioning.mode == 'ProvisioningRequest' || !has(self.provisioning.parameters)",
        "scheduling.provisioning.parameters needs mode ProvisioningRequest",
        ".provisioning.parameters",
    ),
    (
        "!has(self.provisioning) || self.provisioning.mode == 'ProvisioningRequest' || !has(self.provisioning.managedResources)",
        "scheduling.provisioning.managedResources needs mode ProvisioningRequest",
        ".provisioning.managedResources",
    ),
)


class ProvisioningMode(StrEnum):
    """How nodes are asked for."""

    NEVER = "Never"
    UNPINNED = "Unpinned"
    REQUEST = "ProvisioningRequest"


class Provisioning(ApiModel):
    """How a gang that the nodes there are can't hold asks for more."""

    mode: ProvisioningMode = Field(
        default=ProvisioningMode.NEVER,
        description="`Never`: it waits. `Unpinned`: its attempt begins with pods that are pinned to no node, so that an "
        "autoscaler sees them and adds nodes; its quota is taken as if it had them. `ProvisioningRequest`: its quota is "
        "taken, nodes for all of it are asked for by a ProvisioningRequest (autoscaling.x-k8s.io/v1), and it is placed "
        "once they are provisioned.",
    )
    class_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_CLASS_NAME,
        pattern=CLASS_NAME,
        description="Class of the ProvisioningRequest: which autoscaler serves it, and how. Required with that mode, and "
        "not allowed with another.",
        examples=["queued-provisioning.gke.io"],
    )
    parameters: dict[str, Annotated[str, Field(max_length=MAX_PARAMETER)]] | None = Field(
        default=None,
        max_length=MAX_PARAMETERS,
        description="What the class takes beside, as it stands in the ProvisioningRequest. Default: nothing.",
        examples=[{"maxRunDurationSeconds": "86400"}],
    )
    managed_resources: tuple[Annotated[str, Field(min_length=1, max_length=253)], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_RESOURCES,
        description="Resources that the class brings: nodes are asked for the workers, and of the helpers for those that "
        "request one of these. Default: for all that an attempt begins with.",
        examples=[["nvidia.com/gpu"]],
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
        description="With `Unpinned`: seconds from when the pods of such an attempt were created, within which all of them "
        "have to be bound; else it ends, whatever part of it has nodes. With `ProvisioningRequest`: seconds within which "
        "the request has to be provisioned; else it is deleted. Then the next of `accelerator.candidates` is tried, or "
        "the same again, after a delay that doubles from a minute to an hour.",
        examples=[900],
    )
