"""One real node with an operator in a pod serves all suites."""

from collections.abc import Iterator

import pytest

from e2e.cluster import build, images
from e2e.cluster.realnode import why_not
from e2e.demo_site import Site, real_site
from e2e.engines import llamacpp, vllm

_TEST_SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real training needs a real node; where there can be none, the skip says why."""
    reason = why_not()
    for item in items:
        if "suites" not in item.path.parts:
            continue
        item.add_marker(pytest.mark.timeout(_TEST_SECONDS))
        if _needs_a_real_node(item):
            item.add_marker(pytest.mark.realnode)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtestloop(session: pytest.Session) -> None:
    """Build what the tests start before the first of them: on a fresh machine it takes longer than a test may."""
    if session.config.option.collectonly or not session.items:
        return
    real = why_not() is None and any(_needs_a_real_node(item) for item in session.items)
    build.build(build.GROUPS["real-node" if real else "control-plane"])
    if real:
        for image in (images.operator, images.worker_jax, images.worker_torch):
            image()
        images.torch_tree()
        if any(item.path.stem.startswith("test_inference") for item in session.items):
            llamacpp.image()
        if any("vllm" in item.path.stem for item in session.items):
            vllm.image()
            vllm.trees()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A cluster with a real node, the worker images and the operator."""
    with real_site(images.worker_jax, images.worker_torch) as running:
        yield running


def _needs_a_real_node(item: pytest.Item) -> bool:
    return "site" in getattr(item, "fixturenames", ())
