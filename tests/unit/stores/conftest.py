from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import tenacity

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


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines of retries by a clock that goes 20 ms at each look: the same number of attempts on a fast and on a slow machine."""
    looks = itertools.count()
    monkeypatch.setattr(tenacity, "time", SimpleNamespace(monotonic=lambda: next(looks) * 0.02))
