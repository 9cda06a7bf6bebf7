"""Credentials of a server: from the environment or handed over, never in a URL, shown nowhere."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn, Self
from urllib.parse import quote

from pydantic import SecretStr

from ..errors import ConfigError

PREFIX = "SPLADE_PTBR_"
HIDDEN = "***"
_SHORTEST = 8  # characters of a secret's beginning that are hidden too: a message may be cut within it


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

    They cannot be pickled, where they would lie about in plain text; HandedOver takes them to another process.
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

    def hide(self, text: str) -> str:
        """The text without the secrets, in whatever form a server may repeat them, whole or cut off at the end."""
        for form in self._forms():
            shown = form if form in text else _longest_beginning(form, text)
            text = text.replace(shown, HIDDEN) if shown else text
        return text

    def _forms(self) -> list[str]:
        """The secrets as they are, and as headers, URLs and JSON hold them; the longest first."""
        secrets = [secret.get_secret_value() for secret in (self.api_key, self.password) if secret is not None]
        headers = [base64.b64encode(f"{self.user}:{secret}".encode()).decode() for secret in secrets if self.user is not None]
        spelled = [
            form
            for secret in secrets
            for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1], repr(secret.encode())[2:-1])
        ]
        return sorted({*headers, *spelled}, key=len, reverse=True)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise ConfigError("credentials cannot be pickled: set them in the environment of the other process, or wrap them in HandedOver.")

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


class HandedOver:
    """Credentials on their way to another process: the one form that can be pickled, in plain text. Shown nowhere else."""

    def __init__(self, credentials: Credentials) -> None:
        self._values: dict[str, Any] = {field.name: getattr(credentials, field.name) for field in fields(credentials)}

    def take(self) -> Credentials:
        """The credentials."""
        return Credentials(**self._values)


def _longest_beginning(secret: str, text: str) -> str:
    """What of a secret's beginning the text holds; "" for a few characters, which may be there by chance."""
    return next((secret[:size] for size in range(len(secret) - 1, _SHORTEST - 1, -1) if secret[:size] in text), "")


def environment_names(engine: str) -> dict[str, str]:
    """The environment variables of an engine, by what they hold."""
    return {name: f"{PREFIX}{engine.upper()}_{name.upper()}" for name in ("api_key", "user", "password", "ca_certs", "verify")}
