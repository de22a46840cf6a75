"""Groups of different roles near each other: `scheduling.together`.

A group that asks for a place names the nodes of the other roles' groups, and the topology level that it would like
to share with them. It is a wish: placement looks in those domains first, and anywhere else when none has room.
"""

from __future__ import annotations

from dataclasses import replace

from drumline.core.gang.types import GangRequest
from drumline.core.inference.view import View, is_going


def near(view: View, role: str, request: GangRequest) -> GangRequest:
    """The request with its wish, if there is one and there are such groups."""
    level = view.spec.scheduling.together
    if level is None:
        return request
    nodes = {
        node
        for other in view.status.roles
        if other.name != role
        for group in other.groups
        if not is_going(group)
        for node in group.nodes
        if node
    }
    return replace(request, near=tuple(sorted(nodes)), near_level=level) if nodes else request
