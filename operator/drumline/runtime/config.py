"""The operator's settings: flags, else environment (DRUMLINE_…), else a YAML file, else defaults.

Every setting has one name: ``--metrics-port``, ``DRUMLINE_METRICS_PORT`` and ``metricsPort`` are the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import yaml

from drumline.api.backend import BACKENDS
from drumline.core.gang.topology import Topology
from drumline.core.gang.topology_config import topology_of
from drumline.runtime.errors import DrumlineError

DISCOVERY_MODES: Final = ("Auto", "EndpointSlice", "Endpoints")
SWITCH: Final = ("on", "off")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("json", "text")


class ConfigError(DrumlineError):
    """A setting is unknown or has a bad value."""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds; ``retry < renew_deadline < duration``. A request may take half of `renew_deadline`."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.renew_deadline < self.duration:
            raise ValueError(f"lease times must be 0 < retry < renew deadline < duration, not {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the operator is started with. Times are in seconds."""

    kubeconfig: str = ""  # development: run outside the cluster; "" = the pod's service account
    namespace: str = ""  # look after this namespace only; "" = all
    lease_namespace: str = ""  # "" = the operator's own
    lease_name: str = "drumline"
    lease_duration: float = 15.0
    lease_renew_deadline: float = 10.0
    lease_retry: float = 2.0
    metrics_host: str = ""  # "" = every address, both families
    metrics_port: int = 8080  # 0 = any free port
    workers: int = 32  # jobs looked at at once
    write_qps: float = 0.0  # 0 = only `writes_in_flight` limits
    write_burst: int = 200
    writes_in_flight: int = 64
    discovery: str = "Auto"  # one of DISCOVERY_MODES
    head_wait: float = 300.0  # backfill until the head of the queue has waited this long
    aging: float = 86_400.0  # a gang that has waited this long goes before every priority; 0 = none does
    exclude: float = 3600.0  # how long a node that failed a gang is avoided
    cluster_domain: str = "cluster.local"
    backend: str = "builtin"  # who admits jobs and services that name nobody: one of BACKENDS
    coscheduling_scheduler: str = "scheduler-plugins-scheduler"  # its profile's name
    volcano_scheduler: str = "volcano"
    volcano_tiers: str = ""  # of its HyperNodes, by node label: label=tier, with commas between
    kai_scheduler: str = "kai-scheduler"
    kai_topology: str = ""  # the Topology of KAI's that has our levels; "" = none
    departing_taints: str = ""  # keys, with commas between: such a node is about to go
    departing_labels: str = ""
    evacuate: float = 300.0  # a group on a cordoned node waits so long for another place, then goes
    gateway: str = "off"  # on or off: make HTTPRoutes and InferencePools where the cluster has these kinds
    report_url: str = ""  # where workers send reports; "" = nowhere, and they get nothing to report with
    launcher_image: str = (
        ""  # the operator's own image, from which workers get the launcher; "" = no launcher
    )
    launcher_silence: float = (
        30.0  # a launcher not heard of for so long after its container's start is missed
    )
    kopf_events: str = "on"  # on or off: whether kopf, too, says which job changed (about 1.2 ms each)
    topology: str = ""  # YAML, see core.gang.topology_config; "" = every preset
    catalog: str = ""  # YAML file that overrides the accelerator catalogue
    catalog_config_map: str = ""  # ConfigMap of the operator's namespace that overrides it, live; "" = none
    taint_bad_nodes: str = "off"  # on or off: keep everybody off nodes that failed several jobs
    progress_logs: str = "off"  # on or off: whether workers' logs may be followed for their steps
    report_socket: str = ""  # unix socket between the operator and the report ingest; "" = no ingest
    ingest_host: str = ""  # "" = every address, both families
    ingest_port: int = 8443  # 0 = any free port
    ingest_service: str = "drumline-ingest"  # name of its Service, and of the Secret with its certificates
    ingest_connections: int = 5000  # at once; half of them may be polls that are held
    ingest_connections_per_address: int = 64
    ingest_rate: float = 5.0  # reports a second of one pod; a job may send `JOB_SHARE` times as many
    ingest_burst: int = 20  # reports of one pod at once after a pause
    shutdown_grace: float = 10.0
    log_level: str = "info"
    log_format: str = "json"
    revision: str = "unknown"  # the commit that the image was built from, which sets it

    def __post_init__(self) -> None:
        self.hierarchies  # noqa: B018 - it checks itself
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{_flag(name)}: {getattr(self, name)!r} is not one of {', '.join(allowed)}"
                )
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                least = "more than 0" if _TYPES[name] is float else "at least 1"
                raise ConfigError(f"{_flag(name)}: must be {least}")
        try:
            self.lease_times  # noqa: B018 - it checks itself
            self.tiers  # noqa: B018 - and so does this
        except ValueError as error:
            raise ConfigError(str(error)) from error

    @property
    def tiers(self) -> dict[str, str]:
        """Node label → tier of Volcano's HyperNodes."""
        pairs = (part.split("=", 1) for part in self.volcano_tiers.split(",") if part.strip())
        return {label.strip(): tier.strip() for label, tier in pairs}

    @property
    def hierarchies(self) -> Topology:
        """The topology levels. ConfigError names each field that can't be used."""
        try:
            document = yaml.safe_load(self.topology)
        except yaml.YAMLError as error:
            raise ConfigError(f"{_flag('topology')}: {error}") from error
        topology, errors = topology_of(document, _flag("topology"))
        if errors:
            raise ConfigError("; ".join(map(str, errors)))
        return topology

    @property
    def lease_times(self) -> LeaseTimes:
        """The times of the election."""
        return LeaseTimes(self.lease_duration, self.lease_renew_deadline, self.lease_retry)


_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "backend": BACKENDS,
    "discovery": DISCOVERY_MODES,
    "kopf_events": SWITCH,
    "progress_logs": SWITCH,
    "taint_bad_nodes": SWITCH,
    "gateway": SWITCH,
    "log_level": LOG_LEVELS,
    "log_format": LOG_FORMATS,
}
_POSITIVE: Final = (
    "workers",
    "write_burst",
    "writes_in_flight",
    "ingest_connections",
    "ingest_connections_per_address",
    "ingest_rate",
    "ingest_burst",
    "launcher_silence",
)
_TYPES: Final[Mapping[str, type]] = {
    field.name: {"str": str, "int": int, "float": float}[str(field.type)] for field in fields(Config)
}
_COMMANDS: Final = {"run": "Run the operator.", "ingest": "Take workers' reports for the operator."}
_HELP: Final[Mapping[str, str]] = {
    "kubeconfig": "development only: run outside the cluster with this kubeconfig file",
    "namespace": "look after TrainingJobs of this namespace only (default: all)",
    "aging": "seconds after which a gang that waits goes before every priority; 0: never",
    "metrics_port": "port of /metrics, /healthz and /readyz",
    "discovery": "how workers find each other: " + " ".join(DISCOVERY_MODES),
    "progress_logs": "on or off: follow the logs of rank 0 where a job asks for it, or says nothing else",
    "taint_bad_nodes": "on or off: put a taint on nodes with a device at fault, and on those that failed several jobs",
    "report_socket": "unix socket on which the report ingest reaches the operator (default: no reports)",
    "ingest_port": "port on which `drumline ingest` takes reports",
    "ingest_service": "name of the ingest's Service, and of the Secret that keeps its certificates",
    "report_url": "HTTPS URL that workers send progress reports to (default: no reports)",
    "launcher_image": "image that puts the launcher into workers: the operator's own (default: no launcher)",
    "launcher_silence": "seconds after which a launcher that has said nothing is missed",
    "revision": "commit that the image was built from, for the metric drumline_build_info",
    "departing_taints": "keys of taints, with commas between, of nodes that are about to go, beside GKE's",
    "departing_labels": "keys of labels, with commas between, of nodes that are about to go, beside GKE's",
    "evacuate": "seconds after which a group on a cordoned node goes though there is no other place for it",
    "backend": "who admits jobs and services of which neither they nor their queue say: builtin, native, kueue, volcano, …",
    "coscheduling_scheduler": "scheduler that has the coscheduling plugin",
    "volcano_scheduler": "Volcano's scheduler",
    "volcano_tiers": "names of its HyperNodes' tiers by node label: label=tier, with commas between",
    "kai_scheduler": "KAI's scheduler",
    "kai_topology": "Topology of KAI's that has our levels as node labels",
    "gateway": "on or off: make HTTPRoutes and InferencePools where the cluster has these kinds",
    "topology": "YAML list of topology hierarchies, presets or levels with their labels (default: every preset)",
    "catalog": "YAML file that overrides the accelerator catalogue",
    "catalog_config_map": "ConfigMap of the operator's own namespace that overrides it, followed live",
}


def load(arguments: Sequence[str], environment: Mapping[str, str], command: str = "run") -> Config:
    """Settings of one run of ``drumline COMMAND``.

    Raises ConfigError; argparse exits on unknown flags and ``--help``.
    """
    flags = {
        name: value
        for name, value in vars(_parser(command).parse_args(arguments)).items()
        if value is not None
    }
    path = flags.pop("config", None) or environment.get("DRUMLINE_CONFIG")
    values: dict[str, Any] = _from_file(path) if path else {}
    for name in _TYPES:
        if (given := environment.get(_variable(name))) is not None:
            values[name] = given
    values |= flags
    return Config(**{name: _converted(name, value) for name, value in values.items()})


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"drumline {command}", description=_COMMANDS[command])
    parser.add_argument("--config", metavar="FILE", help="YAML file with settings in camelCase")
    for name, kind in _TYPES.items():
        text = _HELP.get(name, name.replace("_", " ")) + f" (environment: {_variable(name)})"
        parser.add_argument(_flag(name), dest=name, metavar=kind.__name__.upper(), help=text)
    return parser


def _from_file(path: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: not a mapping")
    names = {_camel(name): name for name in _TYPES}
    if unknown := sorted(str(key) for key in document.keys() - names.keys()):
        raise ConfigError(f"{path}: unknown settings {', '.join(unknown)}")
    return {
        names[key]: json.dumps(value) if isinstance(value, list | dict) else value
        for key, value in document.items()
    }


def _converted(name: str, value: Any) -> Any:
    try:
        return _TYPES[name](value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{_flag(name)}: {value!r} is not {_TYPES[name].__name__}") from error


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return "DRUMLINE_" + name.upper()


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
