from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from tests.support.encoders import HashingEncoder


@pytest.fixture
def encoder() -> HashingEncoder:
    return HashingEncoder()


@pytest.fixture
def store(tmp_path: Path, encoder: HashingEncoder) -> Iterator[Store]:
    with open_store(f"edge:{tmp_path / 'index'}", encoder=encoder) as opened:
        yield opened
