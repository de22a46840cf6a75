"""Services on a lab of the shared operator."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.inference.services import Services
from tests.integration.operator.lab import Lab


@pytest.fixture
async def services(lab: Lab) -> AsyncIterator[Services]:
    """What a test asks of its services; they go with it."""
    yield Services(lab)
    await lab.client.request(
        "DELETE", f"/apis/drumline.dev/v1alpha1/namespaces/{lab.namespace}/inferenceservices"
    )
