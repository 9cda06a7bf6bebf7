"""Binds a store to the model that filled it: which encoder to use, and whether it is the right one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ..errors import ConfigError, ModelMismatchError

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder

_WARNED: set[str] = set()


class UnknownOriginWarning(UserWarning):
    """A collection does not say which model filled it."""


@dataclass(frozen=True, slots=True)
class ModelStamp:
    """What a store remembers of the model that filled it."""

    name: str
    fingerprint: str
    vocab_size: int
    load_arguments: Mapping[str, Any]

    @classmethod
    def of(cls, encoder: Encoder) -> Self:
        """The stamp of an encoder."""
        return cls(encoder.name, encoder.fingerprint, encoder.vocab_size, encoder.load_arguments)

    def __str__(self) -> str:
        return f"{self.name!r} (fingerprint {self.fingerprint[:12]})"


def resolve_encoder(encoder: Encoder | str | None, stamp: ModelStamp | None, url: str, *, allow_mismatch: bool = False) -> Encoder:
    """The encoder to open a store with.

    Args:
        encoder: an encoder, a model to load, or None for the model that the store names.
        stamp: what the store says about its model; None when it is yet to be created.

    Raises:
        ConfigError: no encoder given for a store that names none.
        ModelMismatchError: the store was filled with another model, and allow_mismatch is not set.
    """
    resolved = _load(encoder, stamp, url)
    if stamp is not None and resolved.fingerprint != stamp.fingerprint and not allow_mismatch:
        mine = ModelStamp.of(resolved)
        hint = "same name, but other weights or settings; " if mine.name == stamp.name else ""
        raise ModelMismatchError(
            f"the store {url} was filled with the model {stamp}, but is opened with {mine}: {hint}open it with the first, "
            "or ingest into a new store (allow_mismatch=True opens it all the same, with scores that mean little)."
        )
    return resolved


def _load(encoder: Encoder | str | None, stamp: ModelStamp | None, url: str) -> Encoder:
    if encoder is None and stamp is None:
        raise ConfigError(f'the store {url} is new: say which model fills it, such as encoder="mini".')
    if encoder is None or isinstance(encoder, str):
        from ..encoding.encoder import SpladeEncoder

        return SpladeEncoder.load(**stamp.load_arguments) if encoder is None and stamp else SpladeEncoder.load(str(encoder))
    if not hasattr(encoder, "fingerprint") or not hasattr(encoder, "encode_documents"):
        raise ConfigError(f"encoder is {type(encoder).__name__}: it must be a SpladeEncoder or the name of a model.")
    return encoder


def warn_unknown_origin(encoder: Encoder | str | None, url: str) -> None:
    """For a collection that says nothing about its model: warn, once for each URL and process.

    Raises:
        ConfigError: no encoder given, so that there is nothing to search it with.
    """
    if encoder is None:
        raise ConfigError(f'the store {url} does not say which model filled it: name it yourself, such as encoder="mini".')
    if url not in _WARNED:
        _WARNED.add(url)
        warnings.warn(
            f"the store {url} does not say which model filled it: scores mean something only if it was this one; "
            "if so, adopt() writes it down.",
            UnknownOriginWarning,
            stacklevel=2,
        )
