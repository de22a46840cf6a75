"""Devices of a cluster, for the commands that judge gangs as admission does: read only where gangs have claims."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from drumline.api.meta import INFERENCE_SERVICES, TRAINING_JOBS
from drumline.cli import cluster
from drumline.cli.manifests import Manifest
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_capacity import Devices
from drumline.core.gang.devices import read_claim, read_class, read_slice, read_template
from drumline.core.gang.types import Pod
from drumline.runtime.device_selectors import Selectors

Found = Mapping[str, list[Manifest]]

RESOURCES: Final = ("deviceclasses", "resourceclaimtemplates", "resourceslices", "resourceclaims")


def with_devices(access: cluster.Access, found: Found) -> Found:
    """What was found (by resource), and devices if a gang has claims and they can be listed."""
    owners = (*found.get(TRAINING_JOBS, ()), *found.get(INFERENCE_SERVICES, ()))
    if not any('"resourceClaims"' in json.dumps(owner.get("spec")) for owner in owners):
        return found
    try:
        return {**found, **cluster.list_each(access, dict.fromkeys(RESOURCES, ""))}
    except cluster.ClusterError:  # not served, or not for this user: jobs with claims are told that
        return found


def equip(capacity: Capacity, found: Found, pods: Iterable[Pod]) -> None:
    """Put devices that were found into the capacity; `pods` are those of the cluster."""
    if RESOURCES[0] not in found:
        return
    members = {pod.uid: pod.member for pod in pods}
    devices = Devices(capacity, Selectors(), lambda _key, uid: members.get(uid))
    take: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any, Any], None]]] = {
        "deviceclasses": (read_class, devices.set_class),
        "resourceclaimtemplates": (read_template, devices.set_template),
        "resourceslices": (read_slice, devices.set_slice),
        "resourceclaims": (read_claim, devices.set_claim),
    }
    for resource, (read, put) in take.items():
        for document in found[resource]:
            put(None, read(document))
