"""llama.cpp's server, built from source, serves a tiny model in pods of the real node."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.engines import llamacpp, models
from e2e.engines.exposition import families, values
from e2e.engines.pods import complete, engine_pod, is_ready, metrics
from e2e.suites.kubectl import until
from tests.realnode.conftest import Real

# On a fresh machine the server is compiled first.
pytestmark = pytest.mark.timeout(1800)

SAMPLE = Path(__file__).parents[1] / "data" / "engines" / "llamacpp-0.5.0-dev.txt"
DRAFTED, ACCEPTED = (
    "llamacpp:spec_decode_num_draft_tokens_total",
    "llamacpp:spec_decode_num_accepted_tokens_total",
)
PER_POSITION = "llamacpp:spec_decode_num_accepted_tokens_per_pos_total"  # once something was accepted


@pytest.fixture(scope="module")
def loaded(real: Real) -> Real:
    real.node.store.load(llamacpp.image())
    return real


@pytest.fixture
def url(loaded: Real, request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a server answers; the parameter is what its arguments are more than usual."""
    more: Sequence[str] = getattr(request, "param", ())
    name = "llamacpp"
    trees = {models.MOUNT: models.models()}
    loaded.kubectl.apply(engine_pod(name, llamacpp.IMAGE, llamacpp.arguments(*more), trees, llamacpp.PORT))
    until(lambda: is_ready(loaded.kubectl.get("pod", name)), "the server to be ready", 150)
    yield f"http://{loaded.kubectl.get('pod', name)['status']['podIP']}:{llamacpp.PORT}"
    loaded.kubectl.delete("pod", name)


def test_it_answers_and_counts(url: str) -> None:
    text = complete(url, "Hello", 20)
    assert text == "klmno" * 4
    exposed = metrics(url)
    assert families(exposed) == families(SAMPLE.read_text()) - {PER_POSITION}
    found = values(exposed)
    assert found["llamacpp:tokens_predicted_total"] == 20
    assert found["llamacpp:prompt_tokens_total"] == 6, "five characters, and the mark of the beginning"
    assert found["llamacpp:requests_deferred"] == found["llamacpp:requests_processing"] == 0
    assert found[DRAFTED] == 0


def test_what_is_in_flight_is_counted_until_it_is_answered(url: str) -> None:
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(complete, url, "Hello", 800) for _ in range(6)]
        # Four slots: two have to wait.
        until(lambda: values(metrics(url))["llamacpp:requests_deferred"] == 2, "two requests to wait", 10)
        assert values(metrics(url))["llamacpp:requests_processing"] == 4
        assert [len(answer.result()) for answer in answers] == [800] * 6
    until(lambda: values(metrics(url))["llamacpp:requests_processing"] == 0, "all slots to be free", 10)


@pytest.mark.parametrize(
    "url", [llamacpp.with_draft(4), llamacpp.with_ngram(4)], indirect=True, ids=["draft", "ngram"]
)
def test_speculation_changes_no_answer_and_is_counted(url: str) -> None:
    assert complete(url, "Hello", 100) == "klmno" * 20
    found = values(metrics(url))
    assert found[DRAFTED] > 20
    # Without chance the draft model and the text before agree with what is served.
    assert found[DRAFTED] * 0.9 < found[ACCEPTED] <= found[DRAFTED]
