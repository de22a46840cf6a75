"""No request is lost: a client that never asks twice sees a rollout, a scale-down and a `kubectl drain` go by."""

import pytest

from e2e.cluster.realnode import NODE_NAME
from e2e.demo_site import Site
from e2e.suites.inference import (
    Served,
    drain,
    groups,
    llamacpp_role,
    llamacpp_service,
    load_llamacpp,
    running,
)
from e2e.suites.serving_load import Load, load

THREADS = 3
TOKENS = 600  # about as long as a group's way out of service takes
_DRAIN_SECONDS = 4


@pytest.fixture(scope="module", autouse=True)
def _loaded(site: Site) -> None:
    load_llamacpp(site)


def test_no_request_fails_whatever_happens_to_the_groups(site: Site) -> None:
    role = llamacpp_role(replicas=2)
    with running(site, llamacpp_service("steady", role)) as steady:
        steady.ready()
        with load(site, "steady", threads=THREADS, tokens=TOKENS) as client:
            client.answers(2 * THREADS)
            _roll_out(steady)
            _say(site, client, "a rollout of both groups")
            _scale_down(steady)
            _say(site, client, "a scale-down to one")
            _refuse_to_go(site, steady, client)
            _say(site, client, "a kubectl drain that was refused")
            seen = client.stop()
        site.say(
            f"{seen.answered} answers, {len(seen.failures)} failed, the longest took {seen.longest:.1f} s"
        )
        assert seen.failures == ()
        assert seen.running == 0
        assert seen.answered > 20


def _roll_out(steady: Served) -> None:
    """An argument changes, so all pods do."""
    before = {pod["metadata"]["uid"] for pod in steady.pods()}
    steady.patch(("/roles/0/template/spec/containers/0/args/-", "--no-warmup"))
    steady.ready()
    after = steady.pods()
    assert len(after) == 2
    assert not before & {pod["metadata"]["uid"] for pod in after}
    assert all("--no-warmup" in pod["spec"]["containers"][0]["args"] for pod in after)


def _scale_down(steady: Served) -> None:
    steady.patch(("/roles/0/replicas", 1))
    steady.ready()
    assert len(steady.pods()) == 1


def _refuse_to_go(site: Site, steady: Served, client: Load) -> None:
    """There is no other node: the group stays in service, and the drain does not get through."""
    (before,) = steady.pods()
    try:
        said = drain(site.kubectl, NODE_NAME, "steady", _DRAIN_SECONDS)
        assert "disruption budget" in said
        found = steady.until(lambda s: any("evacuatingSince" in g for g in groups(s)), "an evacuation")
        assert {group["phase"] for group in groups(found)} == {"Serving", "Waiting"}
        client.answers(2 * THREADS)
        assert before["metadata"]["uid"] in {pod["metadata"]["uid"] for pod in steady.pods()}
    finally:
        site.kubectl.run("uncordon", NODE_NAME)
    steady.ready()


def _say(site: Site, client: Load, what: str) -> None:
    seen = client.report()
    site.say(f"{what}: {seen.answered} answers so far, {len(seen.failures)} failed")
    assert seen.failures == (), what
