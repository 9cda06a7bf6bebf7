"""Credentials of a server: from the environment or handed over, never in a URL, shown nowhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from ..errors import ConfigError

PREFIX = "SPLADE_PTBR_"


class InsecureConnectionWarning(UserWarning):
    """Credentials travel unencrypted, or a certificate is not checked."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """How to log in, and whom to trust.

    Attributes:
        api_key: sent as the engine wants it (Qdrant: `api-key`; OpenSearch: `Authorization: ApiKey ...`).
        user, password: basic authentication (OpenSearch).
        ca_certs: file of certificates to trust instead of the system's.
        verify: False accepts any certificate; warned about.
    """

    api_key: SecretStr | None = None
    user: str | None = None
    password: SecretStr | None = None
    ca_certs: Path | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        for name in ("api_key", "password"):
            value = getattr(self, name)
            if isinstance(value, str):
                object.__setattr__(self, name, SecretStr(value))
            if value is not None and not getattr(self, name).get_secret_value().strip():
                raise ConfigError(f"{name} is blank: leave it out, or give the real one.")
        if (self.user is None) != (self.password is None):
            raise ConfigError(f"{'password' if self.user else 'user'} is missing: user and password belong together.")
        if self.api_key and self.user:
            raise ConfigError("an api_key and a user are given: leave one out.")
        if self.ca_certs is not None and not Path(self.ca_certs).is_file():
            raise ConfigError(f"ca_certs is {str(self.ca_certs)!r}: there is no such file.")

    @property
    def present(self) -> bool:
        """Whether there is anything secret."""
        return self.api_key is not None or self.password is not None

    @classmethod
    def from_environment(cls, engine: str) -> Credentials:
        """SPLADE_PTBR_{ENGINE}_API_KEY, _USER, _PASSWORD, _CA_CERTS, _VERIFY (0 to switch off), e.g. SPLADE_PTBR_QDRANT_API_KEY."""
        names = environment_names(engine)
        values = {name: os.environ.get(variable) for name, variable in names.items()}
        verify = (values["verify"] or "1").lower()
        if verify not in ("0", "1", "true", "false"):
            raise ConfigError(f"{names['verify']} is {verify!r}: it must be 0 or 1.")
        return cls(
            api_key=SecretStr(values["api_key"]) if values["api_key"] is not None else None,
            user=values["user"] or None,
            password=SecretStr(values["password"]) if values["password"] is not None else None,
            ca_certs=Path(values["ca_certs"]) if values["ca_certs"] else None,
            verify=verify in ("1", "true"),
        )


def environment_names(engine: str) -> dict[str, str]:
    """The environment variables of an engine, by what they hold."""
    return {name: f"{PREFIX}{engine.upper()}_{name.upper()}" for name in ("api_key", "user", "password", "ca_certs", "verify")}
