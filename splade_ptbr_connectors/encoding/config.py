"""EncoderConfig: everything about a model that is not a weight or a token, saved as `splade.json` in its folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..atomic import write_atomically
from ..errors import ModelFormatError
from ..json_values import parse_json
from ..strict import did_you_mean
from ..text import TextRule

FILE_NAME = "splade.json"
FORMAT_VERSION = 1


class ModelFile(BaseModel):
    """What a file of a model folder holds: every key is known. Raises ModelFormatError."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def checked(cls, raw: dict[str, Any], where: str) -> Self:
        """Validate a mapping; `where` names its origin in the message."""
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            key, reason = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
            if first["type"] == "value_error":  # of settings together: the message names them, their values are all there are
                raise ModelFormatError(f"{': '.join(filter(None, (where, key)))}: {reason}.") from error
            wrong = cls._unknown(key) if first["type"] == "extra_forbidden" else reason
            raise ModelFormatError(f"{where}: {key}: {wrong}, got {first['input']!r:.60}.") from error

    @classmethod
    def _unknown(cls, key: str) -> str:
        return f"not a setting that this version knows{did_you_mean(key, cls.model_fields)}, and it may change vectors"


class TextSettings(ModelFile):
    """See text.TextRule."""

    normalization: Literal["NFC", "NFKC"] = "NFC"
    lowercase: bool = False


class OnnxSettings(ModelFile):
    """What `model.onnx` is: its own sha256, the identity of the network that it was exported from, and a seal over both.

    The seal shows an entry that was changed by hand: which network a graph computes is known at its export alone, where the
    two are compared. It is not a signature. A graph without a seal is a model of its own.
    """

    sha256: str
    source_sha256: str
    seal: str | None = None

    @classmethod
    def of_export(cls, sha256: str, source_sha256: str) -> Self:
        """The entry of a graph that was just exported."""
        return cls(sha256=sha256, source_sha256=source_sha256, seal=_seal(sha256, source_sha256))

    @model_validator(mode="after")
    def _as_exported(self) -> Self:
        if self.seal not in (None, _seal(self.sha256, self.source_sha256)):
            raise ValueError("the entry was changed after the export: export the model again")
        return self


def _seal(sha256: str, source_sha256: str) -> str:
    return hashlib.sha256(f"exported graph {sha256} of network {source_sha256}".encode()).hexdigest()


class QuerySettings(ModelFile):
    """How queries are encoded: by the same network as documents, by a table term -> weight, or by a network of their own.

    The table ("inference-free" queries, arXiv 2411.04403) is a safetensors file with one tensor `weights` [V]. A separate
    network (Efficient SPLADE, arXiv 2207.03834) is in the subfolder `query`: config.json and model.safetensors or
    model.onnx (described by `onnx`). It reads the token ids of the model's one tokenizer and gives weights over the same
    vocabulary, with the same pooling and activation. "expansion" is for a model of words: a table, a thesaurus and a gate
    that says which of its words a query is given (expansion.py), in one safetensors file; those of less than `min_weight_added`
    are left out.
    """

    kind: Literal["same", "table", "separate", "expansion"] = "same"
    file: str | None = None
    onnx: OnnxSettings | None = None
    min_weight_added: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class LexicalSettings(ModelFile):
    """A BM25-shaped bonus on a token's own logit, from its frequency in the text and the text's length.

    `average_length` is in tokens without special ones; the gain per term is in `lexical.safetensors`, tensor `gain` [V].
    """

    k1: float = Field(1.2, gt=0)
    b: float = Field(0.75, ge=0, le=1)
    average_length: float = Field(gt=0)
    special_ids: tuple[int, ...] = ()


class WordSettings(ModelFile):
    """Documents without a network: words.py. `average_length` is in terms; the tensor `terms` [V] of `file` says which a token has.

    With `inflections` an unknown form of a known word has its term: inflections.py. With `forms` as well, a word that is not the one its
    term is called by, the commonest, is a further term, its own token: "imposto" finds "impostos", and "impostos" finds it better.
    """

    file: str = "words.safetensors"
    k1: float = Field(0.9, gt=0)
    b: float = Field(0.6, ge=0, le=1)
    average_length: float = Field(gt=0)
    inflections: bool = False
    forms: bool = False


class ConceptSettings(ModelFile):
    """The last `size` terms of a model of words, which say what a text is about: concepts.py.

    The subfolder `concepts` holds the sentence encoder: tokenizer.json of `pieces` tokens, model.onnx (described by `onnx`), which
    takes `max_length` tokens and gives `dimensions` numbers, and head.safetensors. `scale_query` is a factor on the weights of queries.
    """

    size: int = Field(gt=0)
    dimensions: int = Field(gt=0)
    pieces: int = Field(gt=0)
    max_length: int = Field(256, gt=2)
    top_query: int = Field(gt=0)
    top_document: int = Field(gt=0)
    scale_query: float = Field(gt=0)
    prompt_query: str = ""
    prompt_document: str = ""
    onnx: OnnxSettings


class EncoderConfig(ModelFile):
    """Lengths are in tokens, special ones included; None for a pruning limit means none.

    `pool_special_tokens` False takes the positions of [CLS], [SEP] and every other special token out of the pooling (the
    network still attends to them); `drop_special_tokens` takes the terms [CLS], [SEP] ... out of the vectors. A prompt
    is put in front of every text of its side, with nothing between the two.
    """

    format_version: int = FORMAT_VERSION
    vocab_size: int = Field(gt=0)
    pooling: Literal["max", "sum"] = "max"
    activation: Literal["log1p_relu", "log1p_log1p_relu"] = "log1p_relu"
    max_length_query: int = Field(256, gt=2)
    max_length_document: int = Field(256, gt=2)
    pool_special_tokens: bool = True
    drop_special_tokens: bool = True
    text: TextSettings = TextSettings()
    prompt_query: str = ""
    prompt_document: str = ""
    query: QuerySettings = QuerySettings()
    lexical: LexicalSettings | None = None
    words: WordSettings | None = None
    concepts: ConceptSettings | None = None
    max_active_terms_query: int | None = Field(None, gt=0)
    max_active_terms_document: int | None = Field(None, gt=0)
    min_weight_query: float = Field(0.0, ge=0)
    min_weight_document: float = Field(0.0, ge=0)
    onnx: OnnxSettings | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.pooling == "sum" and self.activation != "log1p_relu":
            raise ValueError("pooling 'sum' goes with activation 'log1p_relu' only")
        if (self.query.kind in ("table", "expansion")) != (self.query.file is not None):
            raise ValueError("query kinds 'table' and 'expansion' need a file, the other kinds have none")
        if self.words is not None and (self.lexical is not None or self.query.kind not in ("table", "expansion")):
            raise ValueError("a model of words has no lexical channel, and its query kind is 'table' or 'expansion'")
        if self.query.kind == "expansion" and self.words is None:
            raise ValueError("query kind 'expansion' is for a model of words")
        if self.query.min_weight_added and self.query.kind != "expansion":
            raise ValueError("query.min_weight_added is for query kind 'expansion'")
        if self.words is not None and self.words.forms and not self.words.inflections:
            raise ValueError("words.forms needs words.inflections")
        if self.concepts is not None and (self.words is None or self.concepts.size >= self.vocab_size):
            raise ValueError("concepts are further terms of a model of words: there are fewer of them than of all terms")
        if self.query.kind == "separate" and self.lexical is not None:
            raise ValueError("query kind 'separate' goes without a lexical channel")
        if self.query.kind != "separate" and self.query.onnx is not None:
            raise ValueError("query.onnx describes the graph of query kind 'separate' only")
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

    def write(self, folder: Path) -> None:
        """Write FOLDER/splade.json."""
        write_atomically(folder / FILE_NAME, json.dumps(self.settings(), indent=2, ensure_ascii=False) + "\n")

    def settings(self) -> dict[str, Any]:
        """JSON values of every setting; those that format 1 did not have at first are left out at their defaults."""
        values = self.model_dump(mode="json")
        if self.pool_special_tokens:
            del values["pool_special_tokens"]
        for prompt in ("prompt_query", "prompt_document"):
            if not values[prompt]:
                del values[prompt]
        for channel in ("words", "concepts"):
            if values[channel] is None:
                del values[channel]
        for name in ("inflections", "forms"):
            if self.words and not getattr(self.words, name):
                del values["words"][name]
        if self.query.onnx is None:
            del values["query"]["onnx"]
        if not self.query.min_weight_added:
            del values["query"]["min_weight_added"]
        for graph in (values["onnx"], values["query"].get("onnx"), values.get("concepts", {}).get("onnx")):
            if graph and graph["seal"] is None:
                del graph["seal"]
        return values

    def identity(self) -> dict[str, Any]:
        """The settings that change a vector, as they enter the fingerprint."""
        values = {name: value for name, value in self.settings().items() if name not in ("onnx", "format_version")}
        for part in (values["query"], values.get("concepts", {})):
            part.pop("onnx", None)
        return values

    @property
    def word_terms(self) -> int:
        """Number of terms that words have: all but those of concepts, which come last."""
        return self.vocab_size - (self.concepts.size if self.concepts else 0)

    @property
    def text_rule(self) -> TextRule:
        """The rule applied to every text before tokenisation."""
        return TextRule(self.text.normalization, self.text.lowercase)


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a model folder's JSON file. Raises ModelFormatError when it is missing, not JSON or not an object."""
    try:
        value = parse_json(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ModelFormatError(f"{path.parent} has no {path.name}: it is not a model folder, or the download is incomplete.") from error
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"{path} cannot be read as JSON: {error}. Download or export the model again.") from error
    if not isinstance(value, dict):
        raise ModelFormatError(f"{path} holds a JSON {type(value).__name__}: expected an object.")
    return value
