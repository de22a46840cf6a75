"""How an InferenceService becomes objects: what others may call of the modules `render_*`."""

from __future__ import annotations

from drumline.core.inference.render_group import (
    PreparedGroup,
    metrics_endpoint,
    owner_of,
    port_of,
    prepare_group,
)
from drumline.core.inference.render_request import group_request
from drumline.core.inference.render_revision import (
    read_revision,
    revision_digest,
    revision_manifest,
    revision_name,
)
from drumline.core.inference.render_shape import GroupShape, group_shape

__all__ = [
    "GroupShape",
    "PreparedGroup",
    "group_request",
    "group_shape",
    "metrics_endpoint",
    "owner_of",
    "port_of",
    "prepare_group",
    "read_revision",
    "revision_digest",
    "revision_manifest",
    "revision_name",
]
