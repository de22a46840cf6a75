"""The process: settings, logs, signals, and kopf. The only module that imports `kopf`.

kopf runs in a thread with an event loop of its own, so that neither its pace nor its end is the
operator's. It has no part in decisions: an event on a TrainingJob or an InferenceService only puts its key on
the queue. It writes nothing: no finalizers, annotations or events, and needs no rights but to watch the two.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import kopf
import yaml

from drumline.api.catalog import Catalog
from drumline.api.meta import GROUP, INFERENCE_SERVICES, TRAINING_JOBS, VERSION
from drumline.core.gang.departures import Signals
from drumline.core.gang.types import Pod
from drumline.core.training.observation import Settings
from drumline.runtime import heap
from drumline.runtime.backends_wiring import add_backends
from drumline.runtime.bad_nodes import BadNodes
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.config import Config, ConfigError, load
from drumline.runtime.config_logging import configure
from drumline.runtime.controller import Clocks, Controller
from drumline.runtime.errors import DrumlineError
from drumline.runtime.ingest.certificates import CaPublisher
from drumline.runtime.ingest.process import certificate_store
from drumline.runtime.kube import Client, Credentials
from drumline.runtime.metrics_census import Census, take_census
from drumline.runtime.metrics_events import EventMetrics
from drumline.runtime.metrics_fragmentation import FragmentationMetrics
from drumline.runtime.metrics_power import BudgetWatch, lines_of
from drumline.runtime.metrics_series import JobSeries
from drumline.runtime.progress_watch import ProgressWatch
from drumline.runtime.queue_controller import queue_lane
from drumline.runtime.service_build import inference
from drumline.runtime.shell_life import Built, Key, Process, Queue, Replica
from drumline.runtime.trust import Trust
from drumline.runtime.world import World

NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
LOGIN_LIFETIME: Final = timedelta(minutes=10)  # mounted tokens rotate
KOPF_RESTART: Final = 5.0  # seconds

logger = logging.getLogger(__name__)

# The operator's clocks: everything else takes the time as an argument.
now: Callable[[], float] = time.time  # noqa: TID251 - the one place that reads the wall clock
monotonic: Callable[[], float] = time.monotonic


def main(arguments: Sequence[str]) -> int:
    """Run the operator until it is told to stop; its exit code."""
    try:
        config = load(arguments, os.environ)
    except ConfigError as error:
        sys.stderr.write(f"drumline: {error}\n")
        return 2
    configure(config.log_level, config.log_format)
    # it warns that a thread gets no signals, which is why it has one
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    heap.settle()
    try:
        asyncio.run(_run(config))
    except DrumlineError as error:
        logger.error("%s", error)  # noqa: TRY400 - the message says it all
        return 1
    except Exception:
        logger.exception("the operator cannot go on")
        return 1
    return 0


async def _run(config: Config) -> None:
    process = Process(
        identity=_identity(), namespace=_own_namespace(), now=now, monotonic=monotonic, die=_die
    )
    replica = Replica(config, process, build)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, replica.stopping.set)
    watcher = KopfThread(
        config, lambda resource, key: loop.call_soon_threadsafe(replica.changed, resource, key)
    )
    if config.kopf_events == "on":
        watcher.start()
    try:
        await replica.run()
    finally:
        watcher.stop()


def build(client: Client, queue: Queue, config: Config) -> Built:
    """The controllers of TrainingJobs and of InferenceServices, from the settings."""
    catalog = Catalog.default()
    if config.catalog:
        catalog = catalog.merged(yaml.safe_load(Path(config.catalog).read_text(encoding="utf-8")))
    catalogue = Catalogue(catalog, config.hierarchies)
    if config.catalog_config_map:
        namespace = config.lease_namespace or _own_namespace()
        catalogue.follow(client, namespace, config.catalog_config_map, now)
    settings = Settings(
        discovery=config.discovery,
        head_wait_seconds=config.head_wait,
        aging_seconds=config.aging,
        exclude_seconds=config.exclude,
        cluster_domain=config.cluster_domain,
        report_url=config.report_url,
        launcher_image=config.launcher_image,
        launcher_silence_seconds=config.launcher_silence,
    )
    clocks = Clocks(now=now, monotonic=monotonic)
    events = EventMetrics()
    trust = _trust(client, config)
    controller = Controller(
        client, queue, catalogue, settings, clocks, config.namespace, meter=events, authority=trust
    )
    world = controller.world
    world.signals = Signals(_keys(config.departing_taints), _keys(config.departing_labels))
    watch = ProgressWatch(client, world, controller.keeper, now, logs=config.progress_logs == "on")
    controller.keeper.flush = watch.flush
    controller.companions += [watch.run, BudgetWatch(world.capacity.coverage).run]
    add_backends(client, controller, config)
    if config.taint_bad_nodes == "on":
        controller.companions.append(BadNodes(client, world, controller.executor, config.exclude, now).run)
    if trust is not None:
        controller.companions.append(partial(trust.run, lambda: namespaces_with_pods(world)))

    def pods_of(uid: str) -> Iterable[Pod]:
        return world.pods.store.by("job", uid).values()

    lane, with_services, service_lines = inference(client, controller, config, clocks)
    queues, queue_lines = queue_lane(client, controller, clocks)

    def census() -> Census:
        return with_services(take_census(world.jobs.store.values(), pods_of))

    series = JobSeries(world.jobs.store.values, pods_of, now)
    power = lines_of(world.capacity.supplies, world.capacity.coverage)
    fragments = FragmentationMetrics(world.capacity, lambda: catalogue.current)
    lines = partial(_joined, series.lines, service_lines, events.lines, power, fragments.lines, queue_lines)
    return Built(controller, census, (lane, queues), lines, controller.keeper.deliver, controller.crews)


def _keys(text: str) -> tuple[str, ...]:
    return tuple(key for part in text.split(",") if (key := part.strip()))


def _joined(*parts: Callable[[], Iterable[str]]) -> Iterable[str]:
    return chain.from_iterable(part() for part in parts)


def namespaces_with_pods(world: World) -> Iterator[str]:
    """Those of jobs that have a placement, so that their workers run or are about to."""
    return (r.meta.namespace for r in world.jobs.store.values() if r.status.placement is not None)


def _trust(client: Client, config: Config) -> Trust | None:
    """What lets workers verify the report ingest; None without one."""
    if not config.report_socket:
        return None
    store = certificate_store(config, client, _own_namespace())
    return Trust(CaPublisher(client, store, monotonic))


class KopfThread:
    """Runs kopf beside the operator and starts it again should it ever end by itself."""

    def __init__(self, config: Config, changed: Callable[[str, Key], object]) -> None:
        self._config = config
        self._changed = changed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; it writes nothing, so nobody waits for it."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except Exception:
                logger.exception("kopf failed")
            self._stop.wait(KOPF_RESTART)

    def _watch(self) -> None:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for resource in (TRAINING_JOBS, INFERENCE_SERVICES):
            kopf.on.event(GROUP, VERSION, resource, registry=registry)(self._event)
        scope: dict[str, Any] = (
            {"namespaces": [self._config.namespace]} if self._config.namespace else {"clusterwide": True}
        )
        kopf.run(registry=registry, settings=_kopf_settings(), standalone=True, stop_flag=self._stop, **scope)

    async def _event(self, *, resource: Any, namespace: str | None, name: str, **_kwargs: Any) -> None:
        self._changed(str(resource.plural), (namespace or "", name))

    async def _login(self, **_kwargs: Any) -> kopf.ConnectionInfo:
        credentials = await Credentials.load(self._config.kubeconfig or None)
        authority, certificate, key = credentials.certificates
        scheme, _, token = (await credentials.authorization() or "").partition(" ")
        return kopf.ConnectionInfo(
            server=credentials.host,
            ca_path=authority,
            certificate_path=certificate,
            private_key_path=key,
            scheme=scheme or None,
            token=token or None,
            proxy_url=credentials.proxy,
            expiration=datetime.fromtimestamp(now(), UTC) + LOGIN_LIFETIME,
        )


def _kopf_settings() -> kopf.OperatorSettings:
    """Read only, and no watching of anything but the one kind."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.chunk_size = 500
    return settings


def _identity() -> str:
    """Unique to this process, so that a restarted one does not take itself for its predecessor."""
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"


def _own_namespace() -> str:
    if given := os.environ.get("POD_NAMESPACE"):
        return given
    if NAMESPACE_FILE.is_file():
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    return "default"


def _die(why: str) -> None:
    """End now: no clean-up may run, since it might write."""
    sys.stderr.write(f"drumline: leadership lost, exiting: {why}\n")
    sys.stderr.flush()
    os._exit(1)
