"""Builders for tests about a group's pods: a raw spec in, a rendered pod out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drumline.api.inference_status import GroupStatus
from drumline.core.gang.meta import ObjectMeta
from drumline.core.inference.observation import Settings
from drumline.core.inference.render import PreparedGroup, prepare_group
from tests.unit.core.inference import services

SERVICE = ObjectMeta("ns", "chat", "uid-1", 1, "100", 0.0)
REVISION = "chat-0123456789"
H100 = {"type": "nvidia-h100-80gb"}
MODEL = {"name": "llama", "source": "/weights/llama"}


def template(**container: Any) -> dict[str, Any]:
    """A pod template of one container."""
    return {"spec": {"containers": [{"name": "engine", "image": "example.org/engine:1", **container}]}}


def role(name: str = "serve", **changes: Any) -> dict[str, Any]:
    """A raw role of single CPU pods."""
    return {"name": name, "accelerator": {"type": "cpu"}, "template": template(), **changes}


def spec(*roles: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A raw spec; without roles it has the one of `role()`."""
    return {"engine": "custom", "roles": [dict(r) for r in roles] or [role()], **changes}


def prepared(
    raw: Mapping[str, Any], name: str = "", settings: Settings | None = None, **group: Any
) -> PreparedGroup:
    """Group 3 in its second attempt, of the first role or the one named."""
    parsed = services.parsed(raw)
    values = {"id": 3, "revision": REVISION, "attempt": 2, **group}
    return prepare_group(
        SERVICE,
        parsed,
        name or parsed.roles[0].name,
        GroupStatus(**values),
        services.CATALOG,
        settings or Settings(),
    )


def engine(raw: Mapping[str, Any], name: str = "", worker: int = 0) -> dict[str, Any]:
    """The engine's container of a pod."""
    found: dict[str, Any] = prepared(raw, name).pod(worker, None)["spec"]["containers"][0]
    return found


def args(raw: Mapping[str, Any], name: str = "", worker: int = 0) -> list[str]:
    """The engine's arguments."""
    return list(engine(raw, name, worker).get("args") or ())


def env(raw: Mapping[str, Any], name: str = "", worker: int = 0) -> dict[str, Any]:
    """The engine's variables: values, or where they come from."""
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in engine(raw, name, worker)["env"]}
