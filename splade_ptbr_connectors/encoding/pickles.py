"""Encoders that travel: a pickle holds how an encoder was loaded, and unpickling loads it again, or finds it loaded in this process."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ModelMismatchError

if TYPE_CHECKING:
    from .encoder import SpladeEncoder

_loaded: weakref.WeakValueDictionary[tuple[Any, ...], SpladeEncoder] = weakref.WeakValueDictionary()
_lock = threading.RLock()  # two threads that unpickle the same encoder load it once


def remember(encoder: SpladeEncoder, how: Mapping[str, Any]) -> None:
    """Let unpickling find the encoder; `how` is what load() was given beside its load_arguments."""
    _loaded[_key(encoder.fingerprint, how)] = encoder


def pickled(encoder: SpladeEncoder, how: Mapping[str, Any]) -> tuple[Any, ...]:
    """What SpladeEncoder.__reduce__ returns."""
    return _reloaded, (encoder.fingerprint, dict(encoder.load_arguments), dict(how))


def _reloaded(fingerprint: str, arguments: dict[str, Any], how: dict[str, Any]) -> SpladeEncoder:
    """Raises ModelMismatchError if the model is not what it was."""
    from .encoder import SpladeEncoder

    with _lock:
        found = _loaded.get(_key(fingerprint, how))
        encoder = SpladeEncoder.load(**arguments, **how, preload=False) if found is None else found
    if encoder.fingerprint != fingerprint:
        raise ModelMismatchError(
            f"the model {encoder.name!r} is not the one that was pickled (fingerprint {encoder.fingerprint[:12]}, was {fingerprint[:12]}): "
            "give this process the same files, or pickle the encoder anew."
        )
    return encoder


def _key(fingerprint: str, how: Mapping[str, Any]) -> tuple[Any, ...]:
    return fingerprint, *sorted((name, str(value)) for name, value in how.items())
