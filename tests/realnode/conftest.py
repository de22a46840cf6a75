"""A real node for the tests of this folder, one at a time: each module brings up its own."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from e2e.cluster.embedded import EmbeddedCluster
from e2e.cluster.realnode import RealNode, why_not
from e2e.suites.kubectl import Kubectl


@dataclass(frozen=True)
class Real:
    """A control plane, the real node that joined it, and kubectl for both."""

    cluster: EmbeddedCluster
    node: RealNode
    kubectl: Kubectl


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_not()
    for item in items:
        if "realnode" in item.path.parts:
            item.add_marker(pytest.mark.realnode)
            # One node serves them all, so under xdist one worker runs them all.
            item.add_marker(pytest.mark.xdist_group("realnode"))
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    with RealNode() as node, EmbeddedCluster(node.options()) as cluster:
        node.join(cluster)
        yield Real(cluster, node, Kubectl(cluster.kubeconfig))
