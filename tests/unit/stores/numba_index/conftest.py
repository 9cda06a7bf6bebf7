"""A store in a folder of its own, opened again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from tests.support.encoders import HashingEncoder

Opening = Callable[..., Store]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def opening(folder: Path) -> Opening:
    def opened(**arguments: Any) -> Store:
        return open_store(f"numba:{folder}", encoder=HashingEncoder(vocab_size=4096), **arguments)

    return opened


@pytest.fixture
def store(opening: Opening) -> Iterator[Store]:
    with opening() as opened:
        yield opened
