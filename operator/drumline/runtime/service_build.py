"""Puts the parts that look after InferenceServices together, beside those of TrainingJobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from drumline.api.meta import INFERENCE_SERVICE, INFERENCE_SERVICES
from drumline.core.inference.observation import Settings
from drumline.runtime.config import Config
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.http import Client
from drumline.runtime.metrics_census import Census
from drumline.runtime.metrics_serving_series import ServiceSeries
from drumline.runtime.service_autoscale import Autoscaler
from drumline.runtime.service_census import with_services
from drumline.runtime.service_controller import ServiceController
from drumline.runtime.shell_life import Lane, Queue
from drumline.runtime.workqueue import WorkQueue


def inference(
    client: Client, shared: Controller, config: Config, clocks: Clocks
) -> tuple[Lane, Callable[[Census], Census], Callable[[], Iterable[str]]]:
    """The lane of InferenceServices, what adds them to the count of jobs, and the text of their own metrics."""
    gateway = config.gateway == "on"
    settings = Settings(
        discovery=config.discovery,
        exclude_seconds=config.exclude,
        cluster_domain=config.cluster_domain,
        evacuate_seconds=config.evacuate,
        gateway=gateway,
        inference_pool=gateway,
    )
    queue: Queue = WorkQueue()
    controller = ServiceController(client, queue, shared, settings, clocks, config.namespace)
    autoscaler = Autoscaler()
    controller.signals.scale, controller.signals.held = autoscaler, autoscaler.hold
    series = ServiceSeries(controller.world.records.store.values, controller.signals.of, clocks.now)
    lane = Lane(INFERENCE_SERVICE, INFERENCE_SERVICES, controller, queue)
    return lane, lambda census: with_services(census, controller.world), series.lines
