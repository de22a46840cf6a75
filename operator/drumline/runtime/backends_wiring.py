"""Other people's schedulers beside the controller of TrainingJobs: what it tells them and what they tell it."""

from __future__ import annotations

from drumline.core.gang.backends.base import Found
from drumline.core.gang.backends.registry import BackendSettings, label_of
from drumline.runtime.backends import Backends
from drumline.runtime.config import Config
from drumline.runtime.controller import Controller
from drumline.runtime.http import Client


def add_backends(client: Client, controller: Controller, config: Config) -> Backends:
    """Let jobs be admitted by others; follows what they serve while this replica leads."""
    settings = BackendSettings(
        coscheduling_scheduler=config.coscheduling_scheduler,
        volcano_scheduler=config.volcano_scheduler,
        volcano_tiers=config.tiers,
        kai_scheduler=config.kai_scheduler,
        kai_topology=config.kai_topology,
    )

    def label(level: str) -> str:
        return label_of(controller.world.capacity.hierarchy(level), level)

    def backend_of(queue: str) -> str:
        """The backend that an AcceleratorQueue names; "" = none."""
        entry = controller.book.entries.get(queue)
        return (entry.spec.backend if entry is not None and entry.spec is not None else None) or ""

    def changed(namespace: str, found: Found) -> None:
        """The job of an object changed: it owns it, or one of the pods does."""
        world = controller.world
        for owner in found.document["metadata"].get("ownerReferences") or ():
            pod = world.pods.store.get(namespace, owner["name"]) if owner["kind"] == "Pod" else None
            uid = pod.member.job_uid if pod is not None and pod.member is not None else owner["uid"]
            if (key := world.keys.get(uid)) is not None:
                controller.job_changed(key, urgent=False)
                return

    def of_job(uid: str) -> None:
        """What a job asks nodes by changed."""
        if (key := controller.world.keys.get(uid)) is not None:
            controller.job_changed(key, urgent=False)

    def appeared() -> None:
        for key in list(controller.world.jobs.store):
            controller.job_changed(key, urgent=False)

    made = Backends(client, config.backend, settings, backend_of, label, config.namespace)
    made.changed, made.appeared = changed, appeared
    made.requests.changed = of_job
    controller.backends = made
    controller.companions.append(made.run)
    return made
