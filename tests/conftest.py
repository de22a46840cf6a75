"""What all tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no counterexample.
settings.register_profile("drumline", deadline=None)
settings.load_profile("drumline")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parents[1]
