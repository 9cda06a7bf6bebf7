from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from tests.support.encoders import HashingEncoder


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"edge:{tmp_path / 'index'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url, encoder=HashingEncoder()) as opened:
        yield opened
