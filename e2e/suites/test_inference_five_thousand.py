"""Five thousand streamed answers, asked for once each, while a service is rolled out, scaled up and scaled down."""

import time

import pytest

from e2e.demo_site import Site
from e2e.suites.inference import Served, llamacpp_role, llamacpp_service, load_llamacpp, running
from e2e.suites.serving_load import Load, load

ANSWERS = 5000
ROLLOUTS = 3
THREADS = 4
TOKENS = 40
_SECONDS = 1500
_ENV = "/roles/0/template/spec/containers/0/env"


pytestmark = pytest.mark.timeout(_SECONDS + 300)


@pytest.fixture(scope="module", autouse=True)
def _loaded(site: Site) -> None:
    load_llamacpp(site)


def test_five_thousand_requests_and_none_lost(site: Site) -> None:
    began = time.monotonic()
    with running(site, llamacpp_service("steady", llamacpp_role(replicas=2))) as steady:
        steady.ready()
        with load(site, "steady", threads=THREADS, tokens=TOKENS, seconds=_SECONDS) as client:
            for number in range(1, ROLLOUTS + 1):
                _roll_out(steady, number)
                _say(site, client, f"rollout {number}")
            for groups in (3, 1):
                _scale(steady, groups)
                _say(site, client, f"scaled to {groups}")
            client.answers(max(1, ANSWERS - client.report().answered), seconds=_SECONDS)
            seen = client.stop()
    seconds = time.monotonic() - began
    site.say(
        f"{seen.answered} streamed answers in {seconds:.0f} s, {len(seen.failures)} failed, the longest took "
        f"{seen.longest:.1f} s"
    )
    assert seen.failures == ()
    assert seen.running == 0
    assert seen.answered >= ANSWERS


def _roll_out(steady: Served, number: int) -> None:
    """A variable changes, so all pods do."""
    before = {pod["metadata"]["uid"] for pod in steady.pods()}
    steady.patch((_ENV, [{"name": "ROLLOUT", "value": str(number)}]))
    steady.ready()
    assert not before & {pod["metadata"]["uid"] for pod in steady.pods()}


def _scale(steady: Served, groups: int) -> None:
    steady.patch(("/roles/0/replicas", groups))
    steady.ready()
    assert len(steady.pods()) == groups


def _say(site: Site, client: Load, what: str) -> None:
    seen = client.report()
    site.say(f"{what}: {seen.answered} answers so far, {len(seen.failures)} failed")
    assert seen.failures == (), what
