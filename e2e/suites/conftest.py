"""One real node with an operator in a pod serves all suites."""

from collections.abc import Iterator

import pytest

from e2e.cluster import images
from e2e.cluster.realnode import why_not
from e2e.demo_site import Site, real_site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real training needs a real node; where there can be none, the skip says why."""
    reason = why_not()
    for item in items:
        if "suites" not in item.path.parts:
            continue
        item.add_marker(pytest.mark.timeout(900))
        if "site" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.realnode)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A cluster with a real node, the worker images and the operator."""
    with real_site(images.worker_jax, images.worker_torch) as running:
        yield running
