"""The edge profile on the real node: it serves, and its kubelet revives it, while the control plane is away."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from e2e.cluster.process import Process
from e2e.demo_site import Site
from e2e.engines.exposition import values
from e2e.engines.pods import complete, metrics
from e2e.suites.inference import Served, llamacpp_role, llamacpp_service, load_llamacpp, running
from e2e.suites.kubectl import until
from e2e.suites.serving_load import load

TOKENS = 100
ANSWERS = 30
_START_SECONDS = 60.0
_AGAIN_SECONDS = 40.0  # the kubelet notices at once, or when it next looks at all containers


@pytest.fixture(scope="module", autouse=True)
def _loaded(site: Site) -> None:
    load_llamacpp(site)


def test_it_serves_and_comes_back_without_a_control_plane(site: Site) -> None:
    with running(site, llamacpp_service("kiosk", llamacpp_role(replicas=1), profile="edge")) as kiosk:
        kiosk.ready()
        (before,) = kiosk.pods()
        assert before["spec"]["restartPolicy"] == "Always"
        url = kiosk.url
        with load(site, "kiosk", threads=1, tokens=TOKENS) as client, _without_control_plane(site):
            client.answers(ANSWERS)
            seen = client.stop()
            assert seen.failures == ()
            _is_revived(site, before, url)
        _is_the_same(kiosk, before["metadata"]["uid"])
        _is_looked_after(kiosk)


def _is_revived(site: Site, pod: dict[str, Any], url: str) -> None:
    """The engine ends, and another one, which has made no token yet, answers in its place."""
    assert _tokens(url) >= ANSWERS * TOKENS
    _kill(site, pod)
    killed = time.monotonic()
    until(lambda: _tokens(url) == 0, "another engine", _AGAIN_SECONDS)
    site.say(f"no API server: another engine answers {time.monotonic() - killed:.1f} s after the first ended")
    assert complete(url, "Hello", 5) == "klmno"


def _kill(site: Site, pod: dict[str, Any]) -> None:
    """End its container's first process without warning."""
    (status,) = pod["status"]["containerStatuses"]
    site.node.store.kill(status["containerID"].rpartition("/")[2])


@contextmanager
def _without_control_plane(site: Site) -> Iterator[None]:
    """No API server; so the operator, the scheduler and the controllers can do nothing either."""
    server: Process = site.cluster.processes["kube-apiserver"]
    server.kill()
    try:
        assert not site.cluster.api.healthy()
        yield
        assert not server.alive
    finally:
        server.start()
        server.wait_ready(site.cluster.api.healthy, _START_SECONDS)


def _is_the_same(kiosk: Served, uid: str) -> None:
    """The very pod goes on, with one restart more, and is in service again."""

    def restarted() -> bool:
        (pod,) = kiosk.pods()
        status = pod["status"]["containerStatuses"][0]
        ready = {c["type"]: c["status"] for c in pod["status"]["conditions"]}["Ready"]
        return bool(pod["metadata"]["uid"] == uid and status["restartCount"] == 1 and ready == "True")

    until(restarted, "the kubelet to report the restart", _START_SECONDS)


def _is_looked_after(kiosk: Served) -> None:
    """The operator is back too: it takes note of a change, and has nothing to repair."""
    kiosk.patch(("/drain/settleSeconds", 1))
    found = kiosk.ready(_START_SECONDS)
    (group,) = kiosk.groups()
    assert (group["id"], group["attempt"], group.get("restarts", 0)) == (0, 1, 0)
    assert found["status"].get("restarts", []) == []


def _tokens(url: str) -> float:
    """Tokens that the engine behind the Service has made; -1 when none answers."""
    try:
        return values(metrics(url))["llamacpp:tokens_predicted_total"]
    except OSError:
        return -1
