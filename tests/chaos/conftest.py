"""Chaos needs a control plane whose programs it may kill."""

from pathlib import Path

import pytest

from e2e.cluster.provider import Embedded

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skipped, with the reason, where the embedded cluster cannot run."""
    reason = Embedded().why_not()
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.cluster)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
