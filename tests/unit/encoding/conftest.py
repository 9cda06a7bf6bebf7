from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def networks_exported_once(exported_once: None) -> None:
    """Most tests of exported folders export the same tiny networks."""
