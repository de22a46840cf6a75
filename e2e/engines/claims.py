"""The engines' host directories as claims, for templates that must not know the host's paths.

``apply(*objects(vllm.trees()))``, then a pod template with ``volumes(...)`` and a container with ``mounts(...)``. A
pod that no preset gives shared memory has ``SHARED_MEMORY`` and its mount too.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from e2e.demo_site import claim, volume

# Engines of several processes share memory, and without this a container has 64 MiB for it.
SHARED_MEMORY = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "512Mi"}}
SHARED_MEMORY_MOUNT = {"name": "shm", "mountPath": "/dev/shm"}


def objects(trees: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Volumes and their claims in the namespace ``default``, read-only, each named as its mount point ends."""
    named = [(_name(place), path) for place, path in trees.items()]
    return [
        *(volume(name, path, "ReadOnlyMany") for name, path in named),
        *(claim(name, "ReadOnlyMany") for name, _ in named),
    ]


def volumes(places: Iterable[str]) -> list[dict[str, Any]]:
    """A pod's volumes: the claims of these mount points."""
    return [
        {"name": _name(place), "persistentVolumeClaim": {"claimName": _name(place), "readOnly": True}}
        for place in places
    ]


def mounts(places: Iterable[str]) -> list[dict[str, Any]]:
    """A container's mounts of ``volumes``."""
    return [{"name": _name(place), "mountPath": place, "readOnly": True} for place in places]


def _name(place: str) -> str:
    return PurePosixPath(place).name
