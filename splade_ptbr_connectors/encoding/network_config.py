"""config.json of a network, read without torch: how long its texts may be, and the settings of a network that has no others."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from ..errors import ModelFormatError
from .config import EncoderConfig, ModelFile, read_json_object
from .fingerprint import WEIGHTS_FILE

DEFAULT_MAX_LENGTH = 256  # what the published Portuguese models were trained with
RELATIVE_POSITIONS = ("t5", "mt5", "umt5")  # model types without a limit on the length
BEHIND_PADDING = frozenset(  # model types whose first position is that behind the padding id, by default 1
    "camembert data2vec-text ibert longformer luke mpnet roberta roberta-prelayernorm xlm-roberta xlm-roberta-xl xmod".split()
)
CHECKED_FAMILIES = BEHIND_PADDING | frozenset("albert bert deberta deberta-v2 distilbert electra modernbert".split())
"""Model types that the tests compare with their own logits, alone and padded, up to their last position. Others are tried when loaded."""


class NetworkConfig:
    """FOLDER/config.json.

    Raises:
        ModelFormatError: missing or broken, or it asks for code or weights of its own. The properties raise it too, for a value
            of another type.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "config.json"
        self._raw = read_json_object(self._file)
        if "auto_map" in self._raw:
            raise ModelFormatError(f"{self._file} asks for code of its own (auto_map): models that bring code are not loaded.")
        if "transformers_weights" in self._raw:  # the file that it names is not the one that the fingerprint is of
            raise ModelFormatError(f"{self._file} names other weights (transformers_weights): keep them in {WEIGHTS_FILE}.")

    @property
    def vocab_size(self) -> Any:
        """Number of terms, as it stands in the file."""
        return self._raw.get("vocab_size")

    @property
    def position_limit(self) -> int:
        """The longest text in tokens, special ones included."""
        return position_limit(self._raw, str(self._file))

    def encoder_config(self, settings: dict[str, Any]) -> EncoderConfig:
        """Settings for a network of which no more is known than `settings`: max pooling, 256 tokens."""
        length = min(DEFAULT_MAX_LENGTH, self.position_limit)
        defaults = {"vocab_size": self.vocab_size, "max_length_query": length, "max_length_document": length}
        return EncoderConfig.checked(defaults | settings, str(self._file))


class _Positions(ModelFile):
    """What config.json says about positions; the defaults hold where it is silent."""

    model_config = ConfigDict(strict=True)

    max_position_embeddings: int = Field(DEFAULT_MAX_LENGTH, ge=1)
    pad_token_id: int = Field(1, ge=0)


def position_limit(config: Mapping[str, Any], where: str) -> int:
    """The longest text in tokens, special ones included, of a network with this config.json.

    Raises:
        ModelFormatError: a value of another type; the message begins with `where`.
    """
    family = config.get("model_type")
    if family in RELATIVE_POSITIONS:
        return sys.maxsize
    behind_padding = isinstance(family, str) and family in BEHIND_PADDING
    counted_from_padding = behind_padding and family != "mpnet"  # which counts from 1 whatever its padding id
    keys = ("max_position_embeddings", "pad_token_id") if counted_from_padding else ("max_position_embeddings",)
    found = _Positions.checked({key: config[key] for key in keys if config.get(key) is not None}, where)
    return found.max_position_embeddings - (1 + found.pad_token_id if behind_padding else 0)
