"""A real vLLM whose KV cache fills up gets a second group: no other metric is asked about, and nothing waits."""

from collections.abc import Iterator

import pytest

from e2e.demo_site import Site
from e2e.engines.exposition import values
from e2e.suites.inference import Manifest, Served, groups, running
from e2e.suites.serving_load import load
from e2e.suites.vllm_services import READY_SECONDS, engine_metrics, load_vllm, vllm_role, vllm_service

TARGET = 0.4
SCALING = {
    "maxReplicas": 2,
    "metrics": [{"name": "kvCacheUsage", "target": TARGET}],
    "behavior": {"scaleDown": {"stabilizationSeconds": 900}},
}
THREADS = 4  # as many as the engine has places: none waits
LONG = 900  # tokens: four such answers nearly fill the KV cache
_SEEN_SECONDS = 120.0
WAITING, USAGE = "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"


@pytest.fixture(scope="module")
def llm(site: Site) -> Iterator[Served]:
    """One group, ready."""
    load_vllm(site)
    with running(site, vllm_service("kv", vllm_role("serve", replicas=1, autoscaling=SCALING))) as made:
        made.ready(READY_SECONDS)
        site.say("vLLM is in service")
        yield made


def test_a_cache_that_fills_up_makes_a_second_group(site: Site, llm: Served) -> None:
    with load(site, "kv", threads=THREADS, tokens=LONG) as client:
        found = llm.until(_wants_two, "the autoscaler to want a second group", _SEEN_SECONDS)
        page = values(engine_metrics(llm, "serve")[0])
        seen = client.stop()
    assert not seen.failures
    scaling = found["status"]["roles"][0]["scaling"]
    site.say(f"the autoscaler: {scaling}; the engine: {page[USAGE]:g} of its cache, {page[WAITING]:g} wait")
    assert [entry["name"] for entry in scaling["metrics"]] == ["kvCacheUsage"]
    assert scaling["metrics"][0]["value"] > TARGET
    llm.until(lambda s: _serving(s) == 2, "a second vLLM in service", READY_SECONDS)
    site.say("the second vLLM is in service")


def _wants_two(document: Manifest) -> bool:
    return bool(document["status"]["roles"][0].get("scaling", {}).get("desired") == 2)


def _serving(document: Manifest) -> int:
    return sum(group["phase"] == "Serving" for group in groups(document))
