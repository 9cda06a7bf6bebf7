"""What open_store() was asked for, on its way to the engine that can do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..text import check_text

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder
    from .credentials import Credentials

MAX_TENANT_BYTES = 256


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """The arguments of open_store() beside the address; see there. Raises ConfigError for a bad batch_size or tenant."""

    url: str
    encoder: Encoder | str | None = None
    create: bool = True
    allow_mismatch: bool = False
    batch_size: int = 256
    tenant: str | None = None
    credentials: Credentials | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size, tenant = self.batch_size, self.tenant
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 10_000:
            raise ConfigError(f"batch_size is {size!r}: it must be an integer from 1 to 10,000.")
        if tenant is None:
            return
        if not isinstance(tenant, str) or not tenant.strip() or len(check_text(tenant, "tenant").encode()) > MAX_TENANT_BYTES:
            raise ConfigError(f"tenant is {tenant!r:.60}: it must be a string of 1 to {MAX_TENANT_BYTES} bytes, not blank.")
