"""EncoderConfig: everything about a model that is not a weight or a token, saved as `splade.json` in its folder."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import ModelFormatError
from ..text import TextRule

FILE_NAME = "splade.json"
FORMAT_VERSION = 1


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextSettings(_Strict):
    """See text.TextRule."""

    normalization: Literal["NFC", "NFKC"] = "NFC"
    lowercase: bool = False


class QuerySettings(_Strict):
    """How queries are encoded: by the same network as documents, or by a table term -> weight without any network.

    The table ("inference-free" queries, arXiv 2411.04403) is a safetensors file with one tensor `weights` [V].
    """

    kind: Literal["same", "table"] = "same"
    file: str | None = None


class LexicalSettings(_Strict):
    """A BM25-shaped bonus on a token's own logit, from its frequency in the text and the text's length.

    `average_length` is in tokens without special ones; the gain per term lies in `lexical.safetensors`, tensor `gain` [V].
    """

    k1: float = Field(1.2, gt=0)
    b: float = Field(0.75, ge=0, le=1)
    average_length: float = Field(gt=0)
    special_ids: tuple[int, ...] = ()


class OnnxSettings(_Strict):
    """What `model.onnx` is: its own sha256, and that of the weights that it was exported from."""

    sha256: str
    source_sha256: str


class EncoderConfig(_Strict):
    """Lengths are in tokens, special ones included; None for a pruning limit means none."""

    format_version: int = FORMAT_VERSION
    vocab_size: int = Field(gt=0)
    pooling: Literal["max", "sum"] = "max"
    activation: Literal["log1p_relu", "log1p_log1p_relu"] = "log1p_relu"
    max_length_query: int = Field(256, gt=2)
    max_length_document: int = Field(256, gt=2)
    drop_special_tokens: bool = True
    text: TextSettings = TextSettings()
    query: QuerySettings = QuerySettings()
    lexical: LexicalSettings | None = None
    max_active_terms_query: int | None = Field(None, gt=0)
    max_active_terms_document: int | None = Field(None, gt=0)
    min_weight_query: float = Field(0.0, ge=0)
    min_weight_document: float = Field(0.0, ge=0)
    onnx: OnnxSettings | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.pooling == "sum" and self.activation != "log1p_relu":
            raise ValueError("pooling 'sum' goes with activation 'log1p_relu' only")
        if (self.query.kind == "table") != (self.query.file is not None):
            raise ValueError("query kind 'table' needs a file, kind 'same' has none")
        return self

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read FOLDER/splade.json. Raises ModelFormatError that names the key and the file."""
        path = folder / FILE_NAME
        raw = read_json_object(path)
        version = raw.get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ModelFormatError(f"{path} has format version {version}; this version reads up to {FORMAT_VERSION}: upgrade the package.")
        return cls.checked(raw, str(path))

    @classmethod
    def checked(cls, raw: dict[str, Any], where: str) -> Self:
        """Validate a mapping; `where` names its origin in the message."""
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            near = difflib.get_close_matches(key, cls.model_fields, 1) if first["type"] == "extra_forbidden" else []
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ModelFormatError(f"{where}: {key}: {first['msg']}{hint}, got {first['input']!r:.60}.") from error

    def write(self, folder: Path) -> None:
        """Write FOLDER/splade.json."""
        (folder / FILE_NAME).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @property
    def text_rule(self) -> TextRule:
        """The rule applied to every text before tokenisation."""
        return TextRule(self.text.normalization, self.text.lowercase)


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a model folder's JSON file. Raises ModelFormatError when it is missing, not JSON or not an object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ModelFormatError(f"{path.parent} has no {path.name}: it is not a model folder, or the download is incomplete.") from error
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"{path} cannot be read as JSON: {error}. Download or export the model again.") from error
    if not isinstance(value, dict):
        raise ModelFormatError(f"{path} holds a JSON {type(value).__name__}: expected an object.")
    return value
