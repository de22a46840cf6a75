"""The presets as data: complete, free of contradictions, and true of the pages that real engines gave."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drumline.api.engines import HISTOGRAMS, Argument, EnginePreset, ProbeKind, SignalMetrics, When, presets
from drumline.api.inference_model import Engine

PAGES = Path(__file__).parents[2] / "data" / "engines"
PLACEHOLDERS = {
    *("source", "name", "port", "size", "chips", "allChips", "leader", "worker", "masterPort", "graceful"),
    *("method", "tokens", "more", "draft", "limit", "above"),
    *("connector", "kvPort", "kvRole", "kvParameters", "adapter", "adapterSource"),
}
ASKED_BY = {
    When.ADAPTERS: "adapters",
    When.DRAFT_MODEL: "draft_model",
    When.NGRAM: "ngram",
    When.KV_TRANSFER: "kv_transfer",
    When.MULTI_HOST: "multi_host",
}
EVERY = pytest.mark.parametrize("engine", list(Engine))


def texts(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, dict):
        for value in template.values():
            yield from texts(value)
    elif isinstance(template, list | tuple):
        for value in template:
            yield from texts(value)


def templates(argument: Argument) -> list[str]:
    return [t for part in (argument.args, argument.json_value, argument.each_adapter) for t in texts(part)]


def metrics_of(signals: SignalMetrics) -> Iterator[tuple[str, str]]:
    for name in SignalMetrics.model_fields:
        for metric in getattr(signals, name):
            yield name, metric.name


@EVERY
def test_says_where_its_facts_were_read(engine: Engine) -> None:
    found = presets()[engine]
    assert found.source
    assert found.version or engine is Engine.CUSTOM


@EVERY
def test_only_known_values_are_asked_for(engine: Engine) -> None:
    found = presets()[engine]
    used = [t for a in found.arguments for t in templates(a)] + [v.value for v in found.variables]
    assert {name for text in used for name in re.findall(r"\{(\w+)\}", text)} <= PLACEHOLDERS


@EVERY
def test_every_argument_knows_by_what_a_user_sets_it(engine: Engine) -> None:
    for argument in presets()[engine].arguments:
        assert argument.flags
        given = [word.partition("=")[0] for word in argument.args if word.startswith("--")]
        if not argument.json_value and given:
            assert set(given) & set(argument.flags), argument


@EVERY
def test_what_it_supports_and_what_it_is_told_agree(engine: Engine) -> None:
    found = presets()[engine]
    if not found.arguments:
        return
    told = {when for argument in found.arguments for when in argument.when}
    for when, name in ASKED_BY.items():
        assert getattr(found.supports, name) == (when in told), name
    text = " ".join(t for a in found.arguments for t in templates(a))
    assert found.supports.disable_above_running == ("{limit}" in text)


def test_no_engine_but_a_custom_one_asks_another_server_for_guesses() -> None:
    assert [e for e, found in presets().items() if found.supports.draft_role] == [Engine.CUSTOM]


@EVERY
def test_a_pod_has_time_to_go(engine: Engine) -> None:
    shutdown = presets()[engine].shutdown
    assert shutdown.pre_stop_seconds + shutdown.graceful_seconds < shutdown.grace_seconds


@EVERY
def test_probes_are_whole(engine: Engine) -> None:
    probes = presets()[engine].probes
    numbers = (probes.startup, probes.readiness)
    assert all(numbers) == (probes.kind is not ProbeKind.NONE)
    assert bool(probes.health_path) == (probes.kind is ProbeKind.HTTP)
    if probes.startup is not None:
        assert probes.startup.period_seconds * probes.startup.failure_threshold >= 1800, "weights take long"


@EVERY
def test_kv_roles_of_prefill_and_decode_differ(engine: Engine) -> None:
    roles = presets()[engine].kv_roles
    assert not roles or roles["prefill"] != roles["decode"]


@pytest.mark.parametrize(
    ("engine", "absent"),
    [
        (Engine.VLLM, {"vllm:gpu_cache_usage_perc", "vllm:time_per_output_token_seconds"}),
        (Engine.LLAMACPP, {"llamacpp:kv_cache_usage_ratio"}),
    ],
)
def test_metrics_are_those_of_a_real_page(engine: Engine, absent: set[str]) -> None:
    """All but names of other versions, which stand beside for those."""
    (file,) = PAGES.glob(f"{engine.value}-*.txt")
    page = file.read_text(encoding="utf-8")
    exposed = set(re.findall(r"^([a-zA-Z_:][\w:]*)", page, re.MULTILINE))
    for signal, name in metrics_of(presets()[engine].signals):
        series = f"{name}_bucket" if signal in HISTOGRAMS else name
        assert (series in exposed) != (name in absent), name


@EVERY
def test_one_metric_may_stand_for_two_signals_only_by_its_labels(engine: Engine) -> None:
    signals = presets()[engine].signals
    found = [
        (metric.name, tuple(sorted(metric.labels.items())), metric.combine)
        for name in SignalMetrics.model_fields
        for metric in getattr(signals, name)
    ]
    assert len(set(found)) == len(found)


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(ValidationError):
        EnginePreset.model_validate({"prot": 8000})
