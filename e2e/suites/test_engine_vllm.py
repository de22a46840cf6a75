"""vLLM serves a tiny model from a pod: its answers, its metrics, its speculation, its end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.demo_site import REPOSITORY, Site
from e2e.engines import vllm
from e2e.engines.exposition import families, values
from e2e.engines.pods import complete, engine_pod, is_ready, metrics
from e2e.suites.kubectl import until

SAMPLE = REPOSITORY / "tests" / "data" / "engines" / "vllm-0.32.0.txt"
DRAFTED, ACCEPTED = "vllm:spec_decode_num_draft_tokens_total", "vllm:spec_decode_num_accepted_tokens_total"
NAME = "vllm"
_READY_SECONDS = 480


@pytest.fixture(scope="module")
def trees(site: Site) -> dict[str, Path]:
    site.node.store.load(vllm.image())
    return vllm.trees()


@pytest.fixture
def url(site: Site, trees: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a server answers; the parameter is what its arguments are more than usual."""
    arguments = vllm.arguments("--shutdown-timeout=60", *request.param)
    grace = {"terminationGracePeriodSeconds": 90}
    site.kubectl.apply(engine_pod(NAME, vllm.IMAGE, arguments, trees, vllm.PORT, **grace))
    until(lambda: is_ready(site.kubectl.get("pod", NAME)), "vLLM to be ready", _READY_SECONDS)
    yield f"http://{site.kubectl.get('pod', NAME)['status']['podIP']}:{vllm.PORT}"
    site.kubectl.delete("pod", NAME)


@pytest.mark.parametrize("url", [vllm.with_ngram(4)], indirect=True, ids=["ngram"])
def test_it_answers_and_counts(url: str) -> None:
    _speculates(url)
    exposed = metrics(url)
    missing = {name for name in families(SAMPLE.read_text()) - families(exposed) if name.startswith("vllm:")}
    assert not missing
    found = values(exposed)
    assert found["vllm:generation_tokens_total"] == 100
    assert found["vllm:prompt_tokens_total"] == 5
    assert found["vllm:time_to_first_token_seconds_count"] == found["vllm:request_success_total"] == 1
    assert found["vllm:num_requests_waiting"] == found["vllm:num_requests_running"] == 0


@pytest.mark.parametrize("url", [vllm.with_draft(4)], indirect=True, ids=["draft"])
def test_what_is_in_flight_is_answered_after_the_pod_was_deleted(url: str, site: Site) -> None:
    _speculates(url)
    with ThreadPoolExecutor() as pool:
        # Six for four places: two wait when the engine is told to end.
        answers = [pool.submit(complete, url, "Hello", 1500) for _ in range(6)]
        until(lambda: values(metrics(url))["vllm:num_requests_waiting"] == 2, "two requests to wait", 10)
        site.kubectl.run("delete", "pod", NAME, "--wait=false")
        assert [len(answer.result()) for answer in answers] == [1500] * 6


def _speculates(url: str) -> None:
    assert complete(url, "Hello", 100) == "klmno" * 20
    found = values(metrics(url))
    # Without chance the draft model and the text before agree with what is served.
    assert found[DRAFTED] > 20
    assert found[DRAFTED] * 0.9 < found[ACCEPTED] <= found[DRAFTED]
