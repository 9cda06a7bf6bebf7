"""In what the weights of an exported model are stored; quantization.py does it."""

from __future__ import annotations

from typing import Literal, get_args

from ..errors import ConfigError

Storage = Literal["float32", "float16", "int8", "int8-dynamic"]


def check_storage(storage: str) -> None:
    """Raise ConfigError for an unknown storage."""
    if storage not in get_args(Storage):
        raise ConfigError(f"storage is {storage!r}: use one of {', '.join(get_args(Storage))}.")
