"""Groups of several pods and several roles on the real node: they find each other, restart as one, change in pairs."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster import images
from e2e.cluster.realnode import NODE_NAME
from e2e.demo_site import Site
from e2e.engines.pods import complete
from e2e.suites import group_engine
from e2e.suites.inference import Manifest, Served, adds_up, groups, role, running, service
from e2e.suites.serving_load import load

PORT = 8000
THREADS = 6
TOKENS = 10
TWO = "2"  # what a group of two makes of a token: 1, and the number of its worker
_PROBE = {"readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1}}


@pytest.fixture(scope="module")
def pair(site: Site) -> Iterator[Served]:
    """Prefill groups of one pod, decode groups of two, ready."""
    prefill = role("prefill", _container(**_PROBE), port=PORT)
    decode = role("decode", _container(), port=PORT, groupSize=2, leaderTemplate=_template(**_PROBE))
    slo = {"ttftSeconds": 5.0}
    with running(site, service("pair", prefill, decode, engine="custom", slo=slo)) as made:
        made.ready()
        yield made


def test_a_group_answers_as_one(pair: Served) -> None:
    (leader,), (worker,) = pair.pods(role="decode", worker="0"), pair.pods(role="decode", worker="1")
    assert (leader["spec"]["hostname"], worker["spec"]["hostname"]) == ("pair-decode-0-0", "pair-decode-0-1")
    assert leader["spec"]["nodeName"] == worker["spec"]["nodeName"] == NODE_NAME
    # A program that finds its environment wrong, or not its peers, does not answer.
    assert complete(pair.url, "Hello", TOKENS) == TWO * TOKENS
    assert pair.get()["status"]["readyReplicas"] == 2


def test_a_killed_worker_restarts_its_group_and_no_other(site: Site, pair: Served) -> None:
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pair.pods()}
    site.kill_worker("pair-decode-1-0-1")
    pair.until(lambda s: groups(s, "decode")[0]["attempt"] == 2, "a second attempt")
    found = pair.ready()
    (group,) = groups(found, "decode")
    assert (group["id"], group["restarts"], len(group["nodes"])) == (0, 1, 2)
    assert sum(entry["count"] for entry in found["status"]["restarts"]) == 1
    after = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pair.pods()}
    assert after.keys() == {"pair-prefill-1-0-0", "pair-decode-2-0-0", "pair-decode-2-0-1"}
    assert after["pair-prefill-1-0-0"] == before["pair-prefill-1-0-0"]
    assert complete(pair.url, "Hello", TOKENS) == TWO * TOKENS


def test_a_rollout_keeps_pairs_of_one_revision_and_loses_no_request(site: Site, pair: Served) -> None:
    before = pair.get()["status"]["currentRevision"]
    with load(site, "pair", threads=THREADS, tokens=TOKENS, expected=TWO) as client:
        client.answers(2 * THREADS)
        change = {"name": "CHANGED", "value": "yes"}
        pair.patch(("/roles/0/template/spec/containers/0/env", [change]))
        found = pair.ready()
        client.answers(2 * THREADS)
        seen = client.stop()
    site.say(f"a rollout of pairs: {seen.answered} answers, {len(seen.failures)} failed")
    assert seen.failures == ()
    assert found["status"]["currentRevision"] != before
    revisions = {pod["metadata"]["labels"]["drumline.dev/revision"] for pod in pair.pods()}
    assert len(revisions) == 1
    _is_accounted(pair, seen.answered)


def _is_accounted(pair: Served, answered: int) -> None:
    """All requests of the module are in the account once the last engine was looked at for the last time."""
    pair.patch(("/suspend", True))
    pair.until(lambda s: not groups(s, "decode") and not groups(s, "prefill"), "no group while suspended")
    serving = pair.serving
    decode = next(entry for entry in serving["roles"] if entry["role"] == "decode")
    assert adds_up(serving)
    assert decode["requests"] >= answered
    assert decode["failedRequests"] == 0
    assert decode["generationTokens"] == decode["requests"] * TOKENS
    assert serving["sloAttainment"] > 0.9


def _template(**fields: Any) -> Manifest:
    spec: Manifest = role("any", _container(**fields))["template"]
    return spec


def _container(**fields: Any) -> Manifest:
    return {
        "name": "engine",
        "image": images.BASE,
        "command": ["python3", "-u", "-c", inspect.getsource(group_engine)],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "96Mi"}},
        **fields,
    }
