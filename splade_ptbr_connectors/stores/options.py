"""What open_store() was asked for, on its way to the engine that can do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder
    from .credentials import Credentials


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """The arguments of open_store() beside the address; see there."""

    url: str
    encoder: Encoder | str | None = None
    create: bool = True
    allow_mismatch: bool = False
    batch_size: int = 256
    tenant: str | None = None
    credentials: Credentials | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
