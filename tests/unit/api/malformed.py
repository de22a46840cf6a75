"""Specs of every form, and specs with one fault each, made from the CRD's own schema.

A fault is one departure from one place of the schema: another type, out of bounds, too long, no such value,
missing, unknown. The fault knows the path that a refusal must name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from drumline.api.crd import schema
from tests.unit.api.specs import container

Schema = dict[str, Any]
SPEC: Schema = schema()["properties"]["spec"]

_WRONG_TYPE: dict[str, list[Any]] = {
    "object": ["text", 3, [1]],
    "array": ["text", 3, {"a": "b"}],
    "string": [3, True, {"a": "b"}, ["a"]],
    "integer": ["3", 1.5, True, [1]],
    "number": ["3", True, [1]],
    "boolean": ["true", 0, {"a": "b"}],
}

# a value at every place of the schema that a test may break
FULL: dict[str, Any] = {
    "framework": "jax",
    "accelerator": {
        "type": "tpu-v5p",
        "topology": "4x4x4",
        "chipsPerWorker": 4,
        "nodeSelector": {"cloud.google.com/reservation-name": "research"},
        "candidates": [
            {"type": "tpu-v5p", "topology": "4x4x4", "nodeSelector": {"cloud.google.com/gke-spot": "true"}}
        ],
        "fallbackSeconds": 900,
    },
    "slices": 2,
    "elastic": {"minSlices": 1, "maxSlices": 3, "waitSeconds": 30, "regrowSeconds": 300},
    "workersPerSlice": 16,
    "processesPerWorker": 1,
    "spares": 0,
    "template": {
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        "spec": {
            "restartPolicy": "Never",
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"operator": "Exists"}],
            "hostNetwork": False,
            "terminationGracePeriodSeconds": 30,
            "serviceAccountName": "trainer",
            "affinity": {"nodeAffinity": {}},
            "volumes": [{"name": "data", "emptyDir": {}}],
            "initContainers": [container(name="init", env=[{"name": "A", "value": "b"}])],
            "containers": [
                container(
                    env=[{"name": "A", "value": "b"}], resources={"limits": {"cpu": 1, "memory": "1Gi"}}
                )
            ],
        },
    },
    "queue": "research",
    "priorityClassName": "high",
    "scheduling": {
        "backend": "builtin",
        "gangTimeoutSeconds": 120,
        "placement": {"policy": "Required", "level": "block"},
        "provisioning": {"mode": "Never", "afterSeconds": 60, "timeoutSeconds": 600},
    },
    "suspend": False,
    "activeDeadlineSeconds": 3600,
    "ttlSecondsAfterFinished": 60,
    "managedBy": "drumline.dev/operator",
    "successPolicy": {"type": "Rank0"},
    "failurePolicy": {
        "maxRestarts": 3,
        "backoff": {"initialSeconds": 1, "maxSeconds": 60},
        "hang": {"floorSeconds": 60, "factor": 5, "action": "Report"},
        "terminationDeadlineSeconds": 30,
        "forceDelete": "Always",
    },
    "checkpoint": {
        "path": "/ckpt",
        "intervalSeconds": 600,
        "onRequest": {"signal": "SIGUSR2", "graceSeconds": 60},
    },
    "progress": {
        "source": "scrape",
        "preset": "maxtext",
        "pattern": "step (?P<step>[0-9]+)",
        "commitPattern": "saved (?P<step>[0-9]+)",
        "scrape": {
            "port": 9090,
            "path": "/metrics",
            "step": "train_step",
            "tokens": "tokens_total",
            "committedStep": "saved_step",
        },
    },
    "model": {
        "parameters": 8.0e9,
        "activeParameters": 2.0e9,
        "layers": 32,
        "heads": 32,
        "headDim": 128,
        "sequenceLength": 8192,
        "window": 4096,
        "tokensPerStep": 1000000,
        "attention": "causal",
        "precision": "bf16",
    },
    "parallelism": {
        "fsdp": 2,
        "tensor": 4,
        "pipeline": 2,
        "context": 2,
        "expert": 2,
        "scaleUp": "Preferred",
    },
    "helpers": [
        {"name": "loader", "replicas": 2, "template": {"spec": {"containers": [container()]}}},
        {
            "name": "evaluator",
            "dependsOn": [{"name": "loader", "status": "Ready"}, {"name": "workers"}],
            "template": {"spec": {"containers": [container()]}},
        },
    ],
}


@dataclass(frozen=True)
class Fault:
    """One change to a valid spec and the path that the refusal must name."""

    path: str
    what: str
    change: Callable[[dict[str, Any]], None]

    def spec(self, valid: dict[str, Any] = FULL) -> dict[str, Any]:
        """The spec with the fault."""
        broken = {"spec": copy.deepcopy(valid)}
        self.change(broken)
        spec: dict[str, Any] = broken["spec"]
        return spec


def _get(root: Any, keys: tuple[str | int, ...]) -> Any:
    for key in keys:
        root = root[key]
    return root


def _set(keys: tuple[str | int, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(root: dict[str, Any]) -> None:
        _get(root, keys[:-1])[keys[-1]] = copy.deepcopy(value)

    return change


def _remove(keys: tuple[str | int, ...]) -> Callable[[dict[str, Any]], None]:
    def change(root: dict[str, Any]) -> None:
        del _get(root, keys[:-1])[keys[-1]]

    return change


def _bad_values(place: Schema, value: Any) -> Iterator[tuple[str, Any]]:
    """Values that depart from the schema, with a word for each."""
    for wrong in _WRONG_TYPE[place["type"]]:
        yield f"{type(wrong).__name__} for {place['type']}", wrong
    yield from _bad_numbers_and_texts(place)
    if place.get("minItems"):
        yield "no items", []
    if "maxItems" in place and value:
        items = [{**value[0], "name": f"n{i}"} for i in range(place["maxItems"] + 1)]
        yield "too many items", items
    if "maxProperties" in place:
        yield "too many entries", {f"k{i}": "v" for i in range(place["maxProperties"] + 1)}


def _bad_numbers_and_texts(place: Schema) -> Iterator[tuple[str, Any]]:
    if "minimum" in place:
        yield "too small", place["minimum"] - 1
    if "maximum" in place:
        yield "too large", place["maximum"] * 2  # a float that large has no neighbour at 1
    if place.get("minLength"):
        yield "empty", ""
    if place.get("maxLength", 10**6) < 10**5:
        yield "too long", "a" * (place["maxLength"] + 1)
    if "pattern" in place:
        yield "bad pattern", "~Ü"
    if "enum" in place:
        yield "unknown value", "Nope"


def _faults(place: Schema, value: Any, keys: tuple[str | int, ...], path: str) -> Iterator[Fault]:
    if "type" not in place:
        return
    if len(keys) > 1:
        for what, bad in _bad_values(place, value):
            yield Fault(path, what, _set(keys, bad))
    yield from _faults_of_names(place, keys, path)
    yield from _faults_within(place, value, keys, path)


def _faults_of_names(place: Schema, keys: tuple[str | int, ...], path: str) -> Iterator[Fault]:
    for name in place.get("required", ()):
        yield Fault(f"{path}.{name}", "missing", _remove((*keys, name)))
    if place["type"] == "object" and not place.keys() & {
        "x-kubernetes-preserve-unknown-fields",
        "additionalProperties",
    }:
        yield Fault(f"{path}.bogusField", "unknown field", _set((*keys, "bogusField"), 1))


def _faults_within(place: Schema, value: Any, keys: tuple[str | int, ...], path: str) -> Iterator[Fault]:
    if isinstance(value, dict):
        for name, inner in value.items():
            found = place.get("properties", {}).get(name)
            if found:
                yield from _faults(found, inner, (*keys, name), f"{path}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _faults(place["items"], inner, (*keys, index), f"{path}[{index}]")


def faults_of(valid: dict[str, Any]) -> tuple[Fault, ...]:
    """Every fault that the schema knows of for a valid spec."""
    return tuple(_faults(SPEC, valid, ("spec",), "spec"))


FAULTS: tuple[Fault, ...] = faults_of(FULL)

_LABEL = st.sampled_from(["a", "ab", "zone", "x-1", "data-loader", "eval2", "z--z"])
_ACCELERATORS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("nvidia-h100-80gb")}, optional={"chipsPerWorker": st.sampled_from([1, 2, 4, 8])}
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["tpu-v5p", "tpu-v4"]), "topology": st.sampled_from(["2x2x1", "4x4x8"])}
    ),
    st.just({"type": "cpu"}),
)
_TEMPLATES = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {"containers": st.just([container()])},
            optional={
                "nodeSelector": st.dictionaries(_LABEL, _LABEL, max_size=3),
                "hostNetwork": st.booleans(),
                "volumes": st.just([{"name": "data", "emptyDir": {}}]),
            },
        )
    },
    optional={"metadata": st.fixed_dictionaries({"labels": st.dictionaries(_LABEL, _LABEL, max_size=3)})},
)
_PLACEMENTS = st.one_of(
    st.just({"policy": "Unconstrained"}),
    st.fixed_dictionaries({"policy": st.sampled_from(["Required", "Preferred"]), "level": _LABEL}),
)
_BACKOFFS = st.tuples(st.integers(0, 86400), st.integers(0, 86400)).map(
    lambda pair: {"initialSeconds": min(pair), "maxSeconds": max(pair)}
)
_PATTERNS = st.sampled_from(["(?P<step>[0-9]+)", "^it (?P<step>[0-9]+)/"])
_PROGRESSES = st.one_of(
    st.fixed_dictionaries(
        {"source": st.sampled_from(["auto", "launcher", "report", "log", "none"])},
        optional={
            "preset": st.sampled_from(["auto", "nemo"]),
            "pattern": _PATTERNS,
            "commitPattern": _PATTERNS,
        },
    ),
    st.just({"source": "scrape", "scrape": {"port": 9090, "step": "train_step"}}),
)
_MODELS = st.fixed_dictionaries(
    {"parameters": st.integers(10, 10**12)},
    optional={"activeParameters": st.integers(1, 10), "precision": st.sampled_from(["bf16", "fp8"])},
)


@st.composite
def _helpers(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(
        st.lists(_LABEL.filter(lambda n: n not in ("spare", "worker", "workers")), max_size=4, unique=True)
    )
    helpers = []
    for index, name in enumerate(names):
        earlier = draw(st.lists(st.sampled_from([*names[:index], "workers"]), max_size=3, unique=True))
        helpers.append(
            {
                "name": name,
                "replicas": draw(st.integers(1, 9)),
                "dependsOn": [
                    {"name": n, "status": draw(st.sampled_from(["Ready", "Complete"]))} for n in earlier
                ],
                "template": draw(_TEMPLATES),
            }
        )
    return helpers


VALID: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"accelerator": _ACCELERATORS, "template": _TEMPLATES},
    optional={
        "framework": st.sampled_from(["torch", "jax", "none"]),
        "slices": st.integers(1, 20),
        "processesPerWorker": st.integers(1, 256),
        "queue": _LABEL,
        "priorityClassName": _LABEL,
        "scheduling": st.fixed_dictionaries(
            {},
            optional={
                "backendQueue": _LABEL,
                "gangTimeoutSeconds": st.integers(10, 86400),
                "placement": _PLACEMENTS,
            },
        ),
        "suspend": st.booleans(),
        "activeDeadlineSeconds": st.integers(1, 2**31 - 1),
        "ttlSecondsAfterFinished": st.integers(0, 2**31 - 1),
        "managedBy": st.sampled_from(["drumline.dev/operator", "example.com/other"]),
        "successPolicy": st.fixed_dictionaries({"type": st.sampled_from(["AllWorkers", "Rank0", "Roles"])}),
        "failurePolicy": st.fixed_dictionaries(
            {},
            optional={
                "maxRestarts": st.integers(0, 10000),
                "backoff": _BACKOFFS,
                "restartStrategy": st.sampled_from(["Recreate", "InPlace"]),
            },
        ),
        "helpers": _helpers(),
        "spares": st.integers(0, 3),
        "checkpoint": st.fixed_dictionaries({}, optional={"intervalSeconds": st.integers(1, 2**31 - 1)}),
        "progress": _PROGRESSES,
        "model": _MODELS,
    },
)


@st.composite
def malformed(draw: st.DrawFn, count: int) -> list[tuple[dict[str, Any], Fault]]:
    """`count` broken versions of one valid spec, each with its fault."""
    valid = draw(VALID)
    faults = draw(st.lists(st.sampled_from(faults_of(valid)), min_size=count, max_size=count))
    return [(fault.spec(valid), fault) for fault in faults]
