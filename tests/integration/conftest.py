"""A control plane for each test worker, started when the first test asks for it, and a namespace per test."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import provider
from e2e.cluster.provider import Cluster
from tests.integration.operators import api_cluster, lab, operator, own_cluster

__all__ = ["api_cluster", "lab", "operator", "own_cluster"]

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory needs a control plane: say so, for `-m 'not cluster'`."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.cluster)
        if item.path.parent == _HERE and "operator" in getattr(item, "fixturenames", ()):
            text = (
                "the shared operator takes up the jobs of every test after it: tests with it are in operator/"
            )
            raise pytest.UsageError(f"{item.nodeid}: {text}")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One cluster for all tests of a worker; skipped, with every reason, where none can be had."""
    try:
        chosen = provider.choose()
    except RuntimeError as error:
        pytest.skip(str(error))
    running = chosen.start(provider.ClusterOptions())
    yield running
    running.stop()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, in which a pod can be created at once; deleted afterwards."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    cluster.kubectl("create", "namespace", name)
    # The API server refuses pods until their service account is there.
    cluster.kubectl(
        "wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=120s", seconds=150
    )
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
