"""Services on a lab of the shared operator."""

from __future__ import annotations

import pytest

from tests.integration.inference.services import Services
from tests.integration.operator.lab import Lab


@pytest.fixture
async def services(lab: Lab) -> Services:
    """What a test asks of its services."""
    return Services(lab)
