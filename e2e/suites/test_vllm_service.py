"""vLLM behind an InferenceService: its Service, its account, its speculation, its autoscaler, its metrics."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from e2e.demo_site import Site
from e2e.engines.exposition import values
from e2e.engines.pods import complete
from e2e.suites.inference import Manifest, Served, adds_up, groups, operator_metrics, running
from e2e.suites.kubectl import until
from e2e.suites.serving_load import Report, load
from e2e.suites.vllm_services import READY_SECONDS, engine_metrics, load_vllm, vllm_role, vllm_service

TOKENS = 100
NGRAM = {"method": "ngram", "tokens": 4, "disableAboveRunning": 2}
SLO = {"ttftSeconds": 2.5, "tpotSeconds": 0.5}
SCALING = {
    "maxReplicas": 2,
    "metrics": [{"name": "waiting", "target": 1}, {"name": "kvCacheUsage", "target": 0.8}],
    "behavior": {"scaleDown": {"stabilizationSeconds": 900}},
}
THREADS = 8  # for four places
LONG = 900  # tokens: four such answers nearly fill the KV cache
_SEEN_SECONDS = 60.0
DRAFTED, ACCEPTED = "vllm:spec_decode_num_draft_tokens_total", "vllm:spec_decode_num_accepted_tokens_total"
GENERATED = "vllm:generation_tokens_total"
LIVE = ("requests_waiting", "requests_running", "kv_cache_usage_ratio", "ttft_seconds", "tpot_seconds")
SCALED = ("autoscaler_desired_groups", "autoscaler_metric", "autoscaler_target", "groups_without_metrics")


@dataclass
class Asked:
    """What the tests of the module have had answered."""

    tokens: int = 0
    requests: int = 0

    def add(self, tokens: int, requests: int = 1) -> None:
        self.tokens += tokens * requests
        self.requests += requests


@pytest.fixture(scope="module")
def asked() -> Asked:
    return Asked()


@pytest.fixture(scope="module")
def llm(site: Site) -> Iterator[Served]:
    """One group, ready, without speculation."""
    load_vllm(site)
    role = vllm_role("serve", replicas=1, autoscaling=SCALING)
    with running(site, vllm_service("llm", role, slo=SLO)) as made:
        made.ready(READY_SECONDS)
        site.say("vLLM is in service")
        yield made


def test_it_answers_and_its_account_says_so(site: Site, llm: Served, asked: Asked) -> None:
    (pod,) = llm.pods()
    assert {"name": "drumline-shm", "mountPath": "/dev/shm"} in pod["spec"]["containers"][0]["volumeMounts"]
    _ask(llm, asked)
    found = _account(llm, asked)
    (role,) = found["roles"]
    assert (role["promptTokens"], role.get("draftTokens", 0)) == (len("Hello"), 0)
    assert (role["ttftMeasured"], role["tpotMeasured"]) == (1, TOKENS - 1)
    assert found["sloAttainment"] > 0.9
    site.say(f"the account of one answer: {_told(found)}")


def test_speculation_is_switched_on_by_the_spec(site: Site, llm: Served, asked: Asked) -> None:
    llm.patch(("/speculative", NGRAM))
    llm.ready(READY_SECONDS)
    _ask(llm, asked)
    found = _account(llm, asked)
    assert found["roles"][0]["draftTokens"] > TOKENS / 4
    assert 0.9 < found["acceptanceRate"] <= 1
    site.say(f"the account with n-grams: {_told(found)}")


def test_load_makes_a_second_group_and_stops_speculation(site: Site, llm: Served, asked: Asked) -> None:
    before = values(engine_metrics(llm, "serve")[0])
    with load(site, "llm", threads=THREADS, tokens=LONG) as client:
        found = llm.until(_wants_two, "the autoscaler to want a second group", _SEEN_SECONDS)
        until(lambda: _live(site)["drumline_serving_requests_running"] >= 4, "running requests", 10)
        live = _live(site)
        after = values(engine_metrics(llm, "serve")[0])
        seen = client.stop()
    assert not seen.failures
    asked.add(LONG, seen.answered)
    _is_driven(site, found, live)
    drafted, generated = (after[name] - before[name] for name in (DRAFTED, GENERATED))
    site.say(f"under load {drafted:g} tokens were guessed for {generated:g}; {seen.answered} answers")
    assert drafted < generated / 4
    llm.until(lambda s: _serving(s) == 2, "a second vLLM in service", READY_SECONDS)
    site.say("the second vLLM is in service")


def test_both_groups_serve_and_are_in_the_account(site: Site, llm: Served, asked: Asked) -> None:
    with load(site, "llm", threads=THREADS, tokens=TOKENS) as client:
        client.answers(4 * THREADS, 120)
        seen = client.stop()
    assert not seen.failures
    asked.add(TOKENS, seen.answered)
    assert all(values(text)[GENERATED] >= TOKENS for text in engine_metrics(llm, "serve"))
    llm.patch(("/suspend", True))
    llm.until(lambda s: not groups(s), "no group while suspended")
    found = _account(llm, asked)
    _agrees(site, llm, asked)
    site.say(f"{_rate(seen)} from two groups; the account in all: {_told(found)}")


def _ask(llm: Served, asked: Asked) -> None:
    assert complete(llm.url, "Hello", TOKENS) == "klmno" * (TOKENS // 5)
    asked.add(TOKENS)


def _account(llm: Served, asked: Asked) -> dict[str, Any]:
    """The account as soon as it has exactly what was answered."""

    def whole(document: Manifest) -> bool:
        roles = document["status"].get("serving", {}).get("roles", ())
        return [(r["generationTokens"], r["requests"]) for r in roles] == [(asked.tokens, asked.requests)]

    found = llm.until(whole, f"{asked} in the account", _SEEN_SECONDS)["status"]["serving"]
    assert adds_up(found)
    assert found["roles"][0].get("failedRequests", 0) == 0
    return dict(found)


def _told(serving: dict[str, Any]) -> str:
    (role,) = serving["roles"]
    counters = {key: value for key, value in role.items() if isinstance(value, int)}
    seconds = {entry["state"]: entry["ms"] / 1000 for entry in role["states"]}
    return (
        f"{counters} {seconds} acceptance {serving.get('acceptanceRate')} SLO {serving.get('sloAttainment')}"
    )


def _wants_two(document: Manifest) -> bool:
    scaling = document["status"]["roles"][0].get("scaling", {})
    return bool(scaling.get("desired") == 2)


def _is_driven(site: Site, document: Manifest, live: dict[str, float]) -> None:
    """It was the engine's own metrics that asked for the second group, and the operator exposes them."""
    scaling = document["status"]["roles"][0]["scaling"]
    site.say(f"the autoscaler: {scaling}")
    seen = {entry["name"]: entry["value"] for entry in scaling["metrics"]}
    assert seen["waiting"] > 1 or seen["kvCacheUsage"] > 0.8
    site.say(f"live: { {name: live[f'drumline_serving_{name}'] for name in (*LIVE, *SCALED)} }")
    assert live["drumline_serving_requests_running"] >= 4
    assert live["drumline_serving_kv_cache_usage_ratio"] > 0.1
    assert live["drumline_serving_autoscaler_desired_groups"] == 2


def _live(site: Site) -> dict[str, float]:
    return operator_metrics(site, "llm")


def _agrees(site: Site, llm: Served, asked: Asked) -> None:
    """The operator's metrics say what the account says, as soon as it has seen what it wrote."""

    def same() -> bool:
        said, (role,) = _live(site), llm.serving["roles"]
        pairs = {
            "generation_tokens": role["generationTokens"],
            "prompt_tokens": role["promptTokens"],
            "draft_tokens": role["draftTokens"],
            "accepted_tokens": role["acceptedTokens"],
            "requests": asked.requests,
            "slo_met": role["ttftMet"] + role["tpotMet"],
            "slo_measured": role["ttftMeasured"] + role["tpotMeasured"],
        }
        return all(said[f"drumline_serving_{name}_total"] == value for name, value in pairs.items())

    until(same, "the operator's metrics to agree", 20)


def _serving(document: Manifest) -> int:
    return sum(group["phase"] == "Serving" for group in groups(document))


def _rate(seen: Report) -> str:
    return f"{seen.answered} answers, the longest took {seen.longest:.1f} s,"
