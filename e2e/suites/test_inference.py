"""llama.cpp behind an InferenceService: its Service, its account, its autoscaler, its speculation."""

from typing import Any

import pytest

from e2e.demo_site import Site
from e2e.engines import models
from e2e.engines.pods import complete
from e2e.suites.inference import (
    Served,
    adds_up,
    groups,
    llamacpp_role,
    llamacpp_service,
    load_llamacpp,
    operator_metrics,
    running,
)
from e2e.suites.kubectl import until
from e2e.suites.serving_load import load

TOKENS = 200
NGRAM = {"method": "ngram", "tokens": 4}
DRAFT = {"method": "draftModel", "tokens": 4, "draftModel": {"name": "draft", "source": models.DRAFT_GGUF}}
LOOKUP = ("--spec-ngram-simple-size-n", "4")  # the tiny model says the same five characters again and again


@pytest.fixture(scope="module", autouse=True)
def _loaded(site: Site) -> None:
    load_llamacpp(site)


def test_it_answers_and_its_account_says_so(site: Site) -> None:
    role = llamacpp_role(*LOOKUP, replicas=1)
    with running(site, llamacpp_service("chat", role, speculative=NGRAM)) as chat:
        found = chat.ready()
        assert {c["type"] for c in found["status"]["conditions"] if c["status"] == "True"} >= {
            "Ready",
            "Available",
        }
        _ask(chat)
        chat.patch(("/speculative", DRAFT))
        chat.ready()
        assert [group["id"] for group in chat.groups()] == [1]
        ngram = _account(chat, TOKENS)
        _ask(chat)
        chat.patch(("/suspend", True))
        chat.until(lambda s: not groups(s), "no group while suspended")
        both = _account(chat, 2 * TOKENS)
        assert _of(both, "draftTokens") > _of(ngram, "draftTokens")
        _agrees(site, chat)


def test_its_groups_follow_the_load_to_zero_and_back(site: Site) -> None:
    scaling = {
        "minReplicas": 0,
        "maxReplicas": 2,
        "metrics": [{"name": "waiting", "target": 1}],
        "behavior": {"scaleDown": {"stabilizationSeconds": 0}},
        "scaleToZero": {"idleSeconds": 10},
    }
    role = llamacpp_role(slots=1, replicas=1, autoscaling=scaling)
    with running(site, llamacpp_service("elastic", role)) as elastic:
        elastic.ready()
        with load(site, "elastic", threads=4, tokens=1500) as client:
            found = elastic.until(lambda s: _serving(s) == 2, "a second group for the load")
            scaled = found["status"]["roles"][0]["scaling"]
            assert scaled["desired"] == 2
            seen = client.stop()
        site.say(f"under load: 2 groups, {seen.answered} answers, none failed, {scaled['message']}")
        assert not seen.failures

        found = elastic.until(_is_empty, "no group once nobody asks")
        assert found["status"]["roles"][0]["scaling"]["reason"] == "Idle"
        assert not elastic.pods()
        assert adds_up(elastic.serving)

        site.kubectl.run("scale", "inferencerole/elastic-serve", "--replicas=1")
        elastic.until(lambda s: _serving(s) == 1, "a group again")
        until(lambda: _answers(elastic), "an answer", 10)


def _ask(chat: Served) -> None:
    assert complete(chat.url, "Hello", TOKENS) == "klmno" * (TOKENS // 5)


def _account(chat: Served, tokens: int) -> dict[str, Any]:
    """The account, which has exactly so many tokens: the engines that went were looked at until they did."""
    found = chat.serving
    assert _of(found, "generationTokens") == tokens
    assert 0.5 < found["acceptanceRate"] <= 1, "without chance most guesses are right"
    assert adds_up(found)
    return found


def _of(serving: dict[str, Any], counter: str) -> int:
    return sum(role[counter] for role in serving.get("roles", ()))


def _agrees(site: Site, chat: Served) -> None:
    """The operator's metrics say what the account says, as soon as it has seen what it wrote."""

    def same() -> bool:
        said, serving = operator_metrics(site, chat.name), chat.serving
        seconds = said["drumline_serving_accelerator_seconds_total"]
        return bool(
            said["drumline_serving_generation_tokens_total"] == _of(serving, "generationTokens")
            and said["drumline_serving_draft_tokens_total"] == _of(serving, "draftTokens")
            and said["drumline_serving_accepted_tokens_total"] == _of(serving, "acceptedTokens")
            and abs(seconds - serving["elapsedMs"] / 1000) < 0.1
        )

    until(same, "the operator's metrics to agree", 10)


def _serving(document: dict[str, Any]) -> int:
    return sum(group["phase"] == "Serving" for group in groups(document))


def _is_empty(document: dict[str, Any]) -> bool:
    status = document["status"]
    return bool(status["replicas"] == 0 and status["roles"][0]["desired"] == 0)


def _answers(served: Served) -> bool:
    try:
        return complete(served.url, "Hello", 5) == "klmno"
    except OSError:
        return False
