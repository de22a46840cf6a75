"""Engine presets: what each server is like, as data.

They lie beside this module in ``engines.toml``; each says where its facts were read. A preset gives way to the
user's own word: an argument whose flag the user has set, a probe, a port, a lifecycle hook of the user's stay.

Templates. Strings may hold ``{placeholder}``; a string that is nothing but one takes the value as it is (a number
stays a number). What needs a value that the service does not have is left out: the argument, or the key of a JSON
object. The placeholders:

``source`` and ``name`` of the model, ``port``, ``size`` of the group, ``chips`` of a pod, ``allChips`` of the group,
``leader`` (host), ``worker`` (number in the group), ``masterPort``; of speculation ``method``, ``tokens``, ``more``
(one more), ``draft`` (source), ``limit`` and ``above`` (one more); of KV transfer ``connector``, ``kvPort``,
``kvRole``, ``kvParameters``; ``adapter`` and ``adapterSource`` of each LoRA adapter; ``graceful`` (seconds).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, Final

from pydantic import Field

from drumline.api.base import ApiModel
from drumline.api.inference_model import Engine
from drumline.api.inference_parallelism import Size


class Combine(StrEnum):
    """What becomes of several series of one metric (data-parallel ranks, finish reasons)."""

    SUM = "sum"
    MEAN = "mean"
    MAX = "max"


class Metric(ApiModel):
    """A metric of the engine's and how it becomes a signal."""

    name: str = Field(description="As exposed, counters with their `_total`; histograms without suffix.")
    labels: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Series count only if each of these labels has one of its values."
    )
    scale: float = Field(default=1.0, description="Factor to the signal's unit.")
    combine: Combine = Field(default=Combine.SUM, description="What becomes of several series.")


class SignalMetrics(ApiModel):
    """Where each signal of an EngineSample comes from: the first metric of a list that is exposed counts.

    An empty list: the engine does not say. `requests` and `failed_requests` have no request in common.
    """

    waiting: tuple[Metric, ...] = Field(default=(), description="Gauge: requests that wait.")
    running: tuple[Metric, ...] = Field(default=(), description="Gauge: requests in work.")
    kv_cache_usage: tuple[Metric, ...] = Field(default=(), description="Gauge, 0 to 1.")
    ttft: tuple[Metric, ...] = Field(default=(), description="Histogram, seconds.")
    tpot: tuple[Metric, ...] = Field(default=(), description="Histogram, seconds.")
    prompt_tokens: tuple[Metric, ...] = Field(default=(), description="Counter.")
    generation_tokens: tuple[Metric, ...] = Field(default=(), description="Counter.")
    requests: tuple[Metric, ...] = Field(default=(), description="Counter: answered, not failed.")
    failed_requests: tuple[Metric, ...] = Field(default=(), description="Counter.")
    draft_tokens: tuple[Metric, ...] = Field(default=(), description="Counter: tokens guessed.")
    accepted_tokens: tuple[Metric, ...] = Field(default=(), description="Counter: guesses that were right.")


HISTOGRAMS: Final = frozenset({"ttft", "tpot"})  # fields of SignalMetrics; the others are single numbers


class Probe(ApiModel):
    """Numbers of a probe: seconds, and failures in a row."""

    period_seconds: int = Field(ge=1, description="Seconds between two tries.")
    timeout_seconds: int = Field(default=1, ge=1, description="Seconds to answer.")
    failure_threshold: int = Field(ge=1, description="Failures in a row that count.")


class ProbeKind(StrEnum):
    """How a leader is asked."""

    HTTP = "http"
    TCP = "tcp"
    NONE = "none"


class Probes(ApiModel):
    """Probes of the leader; workers have none: they are able as soon as they run."""

    kind: ProbeKind = Field(default=ProbeKind.NONE, description="How the leader is asked.")
    health_path: str = Field(default="", description="Path that says the server lives.")
    ready_path: str = Field(default="", description="Path that says it can serve; default: healthPath.")
    startup: Probe | None = Field(default=None, description="Until it first answers: weights, compilation.")
    readiness: Probe | None = Field(default=None, description="Whether it can serve now.")
    liveness: Probe | None = Field(default=None, description="Whether it has to be restarted.")


class Shutdown(ApiModel):
    """How a pod goes."""

    pre_stop_seconds: int = Field(
        default=0, ge=0, description="Sleep before SIGTERM: proxies may still send requests."
    )
    grace_seconds: int = Field(
        default=30, ge=1, description="terminationGracePeriodSeconds, the sleep included."
    )
    graceful_seconds: int = Field(
        default=0, ge=0, description="Of these, what the engine may take to finish requests: `{graceful}`."
    )


class EnvironmentStyle(StrEnum):
    """Variables by which the pods of a group of several find each other, beside DRUMLINE_* and LWS_*."""

    TORCH = "torch"  # MASTER_ADDR, MASTER_PORT, NNODES, NODE_RANK
    PROCESS = "process"  # RANK and WORLD_SIZE: one process a pod
    RAY = "ray"  # RAY_ADDRESS


class When(StrEnum):
    """What a service must have for an argument or a variable to be given."""

    MODEL = "model"
    ADAPTERS = "adapters"
    DRAFT_MODEL = "draftModel"
    NGRAM = "ngram"
    KV_TRANSFER = "kvTransfer"
    MULTI_HOST = "multiHost"
    MULTI_CHIP = "multiChip"  # a pod has several chips
    PARALLELISM = "parallelism"  # the role says how the model is divided


class Where(StrEnum):
    """Which pods of a group."""

    ALL = "all"
    LEADER = "leader"
    WORKER = "worker"


class Argument(ApiModel):
    """Arguments that belong together: given as a whole or not at all."""

    flags: tuple[str, ...] = Field(description="The user has set it if any of these is in the arguments.")
    env: tuple[str, ...] = Field(
        default=(), description="The user has set it if any of these is in the environment."
    )
    args: tuple[str, ...] = Field(default=(), description="The arguments.")
    json_value: Mapping[str, Any] | None = Field(
        default=None, description="One more argument: the first flag, `=`, and this as JSON."
    )
    json_fields: tuple[str, ...] = Field(
        default=(),
        description="Parameters of kvTransfer of these names are keys of the object itself, not of kvParameters.",
    )
    each_adapter: str | Mapping[str, Any] | None = Field(
        default=None, description="Then one argument for each adapter; a table becomes JSON."
    )
    when: tuple[When, ...] = Field(default=(), description="All of these must hold.")
    unless: tuple[When, ...] = Field(default=(), description="None of these may hold.")
    where: Where = Field(default=Where.ALL, description="Which pods have it.")


class MeshFlag(ApiModel):
    """A flag that says something of a role's `parallelism`; not given where that is 1."""

    size: Size = Field(description="What it is told.")
    flags: tuple[str, ...] = Field(min_length=1, description="Its spellings; the first is given.")
    switch: bool = Field(default=False, description="It has no value: given or not.")


class Variable(ApiModel):
    """An environment variable of the engine's; the user's own word wins."""

    name: str = Field(description="Its name.")
    value: str = Field(default="", description="Its value, a template.")
    field_path: str = Field(default="", description="Instead of a value: a field of the pod.")
    when: tuple[When, ...] = Field(default=(), description="All of these must hold.")
    where: Where = Field(default=Where.ALL, description="Which pods have it.")


class Supports(ApiModel):
    """What the engine can do of what a service may ask for. What it can't is an error at admission."""

    multi_host: bool = Field(default=False, description="Groups of several pods.")
    adapters: bool = Field(default=False, description="LoRA adapters under names of their own.")
    draft_model: bool = Field(default=False, description="Speculation with a draft model in the same pods.")
    ngram: bool = Field(default=False, description="Speculation from the prompt.")
    draft_role: bool = Field(default=False, description="Speculation that asks another role's groups.")
    disable_above_running: bool = Field(default=False, description="No speculation under load.")
    kv_transfer: bool = Field(default=False, description="Prefill and decode in groups of their own.")
    partial_expert: bool = Field(
        default=False, description="Experts over fewer chips than all of a pipeline stage."
    )
    data_across_pods: bool = Field(
        default=False,
        description="Replicas of the attention in several pods, also without experts over them.",
    )


class EnginePreset(ApiModel):
    """What one engine is like."""

    source: tuple[str, ...] = Field(default=(), description="Where the facts were read.")
    version: str = Field(default="", description="The version they hold for; older ones may lack a flag.")
    port: int | None = Field(default=None, ge=1, le=65535, description="Default port.")
    metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="Port of the metrics; default: the port requests go to."
    )
    metrics_path: str = Field(default="", description="Path of the metrics; empty = it exposes none.")
    port_flags: tuple[str, ...] = Field(
        default=(), description="Flags, and variables, that set the port: the user's value counts."
    )
    executables: tuple[str, ...] = Field(
        default=(), description="Programs, Python modules and scripts that take the engine's arguments."
    )
    subcommands: tuple[str, ...] = Field(default=(), description="Words between program and arguments.")
    entrypoint: bool = Field(default=False, description="The usual image starts the engine by itself.")
    command: tuple[str, ...] = Field(
        default=(), description="Given where the user names neither command nor args and the image has none."
    )
    positional: tuple[str, ...] = Field(
        default=(), description="Flags that a first argument without a flag stands for."
    )
    shared_memory: bool = Field(
        default=False,
        description="Its processes share more memory than the 64 MiB that a container has at /dev/shm.",
    )
    probes: Probes = Field(default=Probes(), description="Probes of the leader.")
    shutdown: Shutdown = Field(default=Shutdown(), description="How a pod goes.")
    environment: tuple[EnvironmentStyle, ...] = Field(default=(), description="How pods of a group meet.")
    kv_roles: Mapping[str, str] = Field(
        default_factory=dict, description="`{kvRole}` by role's name; `*` = any other."
    )
    arguments: tuple[Argument, ...] = Field(default=(), description="Arguments it is given.")
    mesh: tuple[MeshFlag, ...] = Field(default=(), description="How it is told of `parallelism`.")
    variables: tuple[Variable, ...] = Field(default=(), description="Environment it is given.")
    signals: SignalMetrics = Field(default=SignalMetrics(), description="Where each signal comes from.")
    supports: Supports = Field(default=Supports(), description="What it can do.")


@cache
def presets() -> Mapping[Engine, EnginePreset]:
    """All presets, by engine."""
    text = resources.files("drumline.api").joinpath("engines.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text)
    return {engine: EnginePreset.model_validate(raw[engine.value]) for engine in Engine}


def preset(engine: Engine) -> EnginePreset:
    """One engine's preset."""
    return presets()[engine]
