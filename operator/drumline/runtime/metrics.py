"""Prometheus metrics of the operator. The only module that imports `prometheus_client`.

Labels are closed sets, but for a job's name on its restarts: those series go with the job, and beyond
`census.MAX_JOBS` jobs they are added up by namespace. What is exported of each job's ledger is rendered
elsewhere (`metrics_series`) and joined to the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from drumline import __version__
from drumline.api.meta import INFERENCE_SERVICE, TRAINING_JOB
from drumline.runtime.ingest.verdicts import Outcome
from drumline.runtime.metrics_census import Census

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
RESULTS: Final = ("success", "error")

_without_created: Callable[[], None] = disable_created_metrics
_without_created()  # a second series for each counter that nobody reads


class Metrics:
    """Every metric, in a registry of its own."""

    def __init__(self, revision: str = "unknown") -> None:
        self.registry = CollectorRegistry()
        self._lines: Callable[[], Iterable[str]] = tuple
        self._reconciles = Histogram(
            "drumline_reconcile_duration_seconds",
            "Time to observe, decide and act for one object.",
            ["kind", "result"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._requests = Counter(
            "drumline_api_requests_total",
            "Requests to the API server; code is the HTTP status, or error or timeout.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self._reports = Counter(
            "drumline_reports_total",
            "Progress reports of workers, by what became of them.",
            ["outcome"],
            registry=self.registry,
        )
        self._depth = self._gauge("drumline_workqueue_depth", "Objects waiting for a worker.")
        self._delayed = self._gauge("drumline_workqueue_delayed", "Objects waiting for their time.")
        self._leader = self._gauge("drumline_leader", "Whether this replica is the leader: 1 or 0.")
        text = "The running version, and the commit that its image was built from."
        build = Gauge("drumline_build_info", text, ["version", "revision"], registry=self.registry)
        build.labels(__version__, revision).set(1)
        for kind, result in product((TRAINING_JOB, INFERENCE_SERVICE), RESULTS):
            self._reconciles.labels(kind, result)
        for outcome in Outcome:
            self._reports.labels(outcome)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def reconciled(self, seconds: float, result: str, kind: str) -> None:
        """One pass of the loop over an object of that kind took `seconds` and ended in one of RESULTS."""
        self._reconciles.labels(kind, result).observe(seconds)

    def request(self, verb: str, resource: str, code: str) -> None:
        """One request to the API server: an observer for `http.Client`."""
        self._requests.labels(verb, resource, code).inc()

    def reported(self, outcome: str, count: int) -> None:
        """So many more reports ended in one of `verdicts.Outcome`: the count of a `ReportBus`."""
        self._reports.labels(outcome).inc(count)

    def follow(
        self, *, depth: Callable[[], int], delayed: Callable[[], int], leader: Callable[[], bool]
    ) -> None:
        """Where to read, at each scrape, what is known elsewhere."""
        self._depth.set_function(depth)
        self._delayed.set_function(delayed)
        self._leader.set_function(leader)

    def follow_jobs(self, census: Callable[[], Census]) -> None:
        """Count jobs and accelerators at each scrape."""
        self.registry.register(_Jobs(census))

    def follow_lines(self, lines: Callable[[], Iterable[str]]) -> None:
        """Text to export beside the registry's, asked for at each scrape."""
        self._lines = lines

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry) + "".join(self._lines()).encode()


def read_samples(text: str) -> Iterator[tuple[str, float]]:
    """(name, value) of every sample of a text that somebody else exports. ValueError when it is malformed."""
    return ((name, value) for name, _, value in read_series(text))


def read_series(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """(name, labels, value) of every sample of a text that somebody else exports. ValueError: malformed."""
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                yield sample.name, sample.labels, sample.value
    except (LookupError, TypeError) as error:  # the parser runs off the end of some lines
        raise ValueError(f"malformed: {error}") from error


class _Jobs(Collector):
    """Jobs as they are at the time of the scrape."""

    def __init__(self, census: Callable[[], Census]) -> None:
        self._census = census

    def describe(self) -> Iterable[Metric]:
        """Nothing to check in advance: the world may not be known yet when this is registered."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Gauges and counters from one census."""
        census = self._census()
        jobs = GaugeMetricFamily("drumline_jobs", "TrainingJobs by phase.", labels=["phase"])
        held = GaugeMetricFamily(
            "drumline_accelerators_held", "Chips of pods that are bound to a node.", labels=["accelerator"]
        )
        requested = GaugeMetricFamily(
            "drumline_accelerators_requested",
            "Chips of the jobs and services that run or want to.",
            labels=["accelerator"],
        )
        restarts = CounterMetricFamily(
            "drumline_job_restarts",
            "Restarts of a whole gang, by cause.",
            labels=["namespace", "job", "cause"],
        )
        for family, values in ((jobs, census.phases), (held, census.held), (requested, census.requested)):
            for label, value in values.items():
                family.add_metric([label], value)
        for labels, count in census.restarts.items():
            restarts.add_metric(labels, count)
        return [jobs, held, requested, restarts]
