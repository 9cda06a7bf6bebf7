"""From a model's name to a checked folder on disk: shipped models, folders, hub ids.

Three layouts are understood: ours (splade.json), sentence-transformers' SparseEncoder (modules.json) and a plain
transformers masked language model or T5 model (config.json alone). Ours may have a second network, for queries, in the
subfolder `query`: config.json and weights, for the tokenizer and the vocabulary of the folder above. Weights are safetensors
or ONNX: nothing here unpickles, and no code of a model folder is ever run. What is trusted is its tokenizer.json: the tokenizers
library does what it says, and one made to do harm (a chain of Replace that doubles the text forty times) takes all memory or time.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, ModelFormatError, ModelNotFoundError
from .config import FILE_NAME, EncoderConfig, QuerySettings
from .fingerprint import WEIGHTS_FILE, WEIGHTS_INDEX, fingerprint, network_sha256, sha256_of
from .network_config import NetworkConfig
from .sentence_transformers_reader import read_sentence_transformers_folder

SHIPPED = Path(__file__).parent.parent / "models"
ONNX_FILE = "model.onnx"
QUERY_FOLDER = "query"  # of a network for queries alone
CONCEPTS_FOLDER = "concepts"  # of the sentence encoder beside words
HEAD_FILE = "head.safetensors"
CONCEPTS_FILES = (HEAD_FILE, ONNX_FILE, "tokenizer.json")  # all that is read of it, and its identity
_LOGIN = re.compile(r"(://)[^/\s@]*@")  # of a mirror's or proxy's URL, which the hub client repeats
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w-][\w.-]*")
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "*.onnx", "*/config.json", "*/*.safetensors"]
_HUB_FILES += [f"{QUERY_FOLDER}/*.onnx", f"{CONCEPTS_FOLDER}/*"]
_TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that holds a model: what it is called, where its network and tokenizer lie, what its settings are.

    `table_elsewhere` is the table of query weights where it does not lie beside the network (sentence-transformers' layout).
    """

    name: str
    path: Path
    config: EncoderConfig
    table_elsewhere: Path | None = None

    @property
    def has_onnx(self) -> bool:
        """An exported graph is there."""
        return (self.path / ONNX_FILE).is_file()

    @property
    def has_weights(self) -> bool:
        """Weights for the torch runtime are there."""
        return (self.path / WEIGHTS_FILE).is_file() or (self.path / WEIGHTS_INDEX).is_file()

    @property
    def query(self) -> ModelFolder | None:
        """The subfolder with the network of the queries; None when they have none of their own."""
        if self.config.query.kind != "separate":
            return None
        changes = {"query": QuerySettings(), "onnx": self.config.query.onnx, "max_length_document": self.config.max_length_query}
        return ModelFolder(self.name, self.path / QUERY_FOLDER, self.config.model_copy(update=changes))

    @property
    def concepts(self) -> ModelFolder | None:
        """The subfolder with the sentence encoder, as a network of so many outputs; None for a model that has none."""
        settings = self.config.concepts
        if settings is None:
            return None
        changes = {"vocab_size": settings.dimensions, "max_length_document": settings.max_length, "onnx": settings.onnx}
        config = self.config.model_copy(update=changes | {"words": None, "concepts": None, "query": QuerySettings()})
        return ModelFolder(self.name, self.path / CONCEPTS_FOLDER, config)

    @property
    def query_table(self) -> Path | None:
        """The file with the table of query weights; None when queries go through a network."""
        file = self.config.query.file
        return self.table_elsewhere or (None if file is None else self.path / file)

    @property
    def longest(self) -> int:
        """Most tokens that this network is given at once: those of a document, or of a query that goes through it."""
        sides = self.config.max_length_document, self.config.max_length_query
        return max(sides) if self.config.query.kind == "same" else sides[0]

    def weights_sha256(self) -> str:
        """Identity of the network, the same for a checkpoint and for its export; see fingerprint.py. Raises ModelFormatError."""
        if self.config.words is not None:
            parts = [self.path / CONCEPTS_FOLDER / name for name in CONCEPTS_FILES] if self.config.concepts else []
            return sha256_of([self.path / self.config.words.file, *parts])
        if self.has_weights:
            return network_sha256(self.path)
        exported = self.config.onnx
        return exported.source_sha256 if exported and exported.seal else sha256_of([self.path / ONNX_FILE])

    def fingerprint(self, tokenizer_json: str, **settings: Any) -> str:
        """Identity of the vectors that this folder gives with a tokenizer and further settings; see fingerprint.py."""
        weights, query_weights = self.weights_sha256(), None if self.query is None else self.query.weights_sha256()
        return fingerprint(
            self.config, tokenizer_json, weights=weights, query_weights=query_weights, query_table=self.query_table, **settings
        )

    def check_lengths(self) -> None:
        """Raise ConfigError when a maximum length is more than the network has positions for."""
        self._check_length(f"model {self.name!r}")
        if self.query is not None:
            self.query._check_length(f"the query network of model {self.name!r}")

    def _check_length(self, what: str) -> None:
        if not (self.path / "config.json").is_file():
            return
        limit = NetworkConfig(self.path).position_limit
        if self.longest > limit:
            raise ConfigError(f"a maximum length of {self.longest} tokens is asked for, {what} has {limit} positions.")

    def foreign_onnx(self) -> str | None:
        """Why model.onnx may give other vectors than the weights beside it; None when it was exported from them, or is alone."""
        exported = self.config.onnx
        if not self.has_weights or (exported and exported.seal and exported.source_sha256 == self.weights_sha256()):
            return None
        return f"{self.path / ONNX_FILE} was not exported from the weights beside it, as far as {FILE_NAME} says"

    def read_onnx(self) -> bytes:
        """The exported graph. Raises ModelFormatError when it is not the one that was exported."""
        data, exported = (self.path / ONNX_FILE).read_bytes(), self.config.onnx
        if exported and hashlib.sha256(hashlib.sha256(data).digest()).hexdigest() != exported.sha256:
            raise ModelFormatError(f"{self.path / ONNX_FILE} is not the graph that {FILE_NAME} describes: export or download it again.")
        return data


def find_model(model: str | Path, *, revision: str | None = None, local_files_only: bool = False) -> ModelFolder:
    """Find a model by shipped name ("mini"), folder or hub id ("AxelPCG/splade-pt-br") and check its folder.

    Raises:
        ConfigError: the model is not named by a text or a path.
        ModelNotFoundError: none of the three.
        ModelFormatError: found, but not usable.
    """
    if not isinstance(model, str | os.PathLike):
        raise ConfigError(f"the model is {model!r:.80}: name one that ships ({', '.join(shipped_models())}), a folder or a hub id.")
    name = str(model)
    if isinstance(model, str) and model in shipped_models():
        path = SHIPPED / model
    elif Path(model).expanduser().exists():
        path = Path(model).expanduser()
    else:
        path = _download(name, _HUB_FILES, revision, local_files_only)
    if not path.is_dir():
        raise ModelFormatError(f"{path} is a file: give the folder that holds the model.")
    folder = _read_folder(name, path)
    _check_weights(folder)
    if folder.query is not None:
        _check_query_network(folder.query)
    if folder.concepts is not None:
        _check_concepts(folder.concepts)
    return folder


def find_tokenizer(name: str, *, local_files_only: bool = False) -> Path:
    """The folder with the tokenizer of a shipped model or a hub id, whatever else that model lacks. Raises ModelNotFoundError."""
    return SHIPPED / name if name in shipped_models() else _download(name, _TOKENIZER_FILES, None, local_files_only)


def shipped_models() -> list[str]:
    """Names of the models inside the package."""
    return sorted(p.name for p in SHIPPED.iterdir() if (p / FILE_NAME).is_file()) if SHIPPED.is_dir() else []


def _download(name: str, files: list[str], revision: str | None, local_files_only: bool) -> Path:
    near = difflib.get_close_matches(name[:40], shipped_models(), 1)
    shipped = (", ".join(shipped_models()) or "none") + (f"; did you mean {near[0]!r}?" if near else "")
    if not _HUB_ID.fullmatch(name):
        raise ModelNotFoundError(f"no model {name!r}: it is neither a folder here nor a shipped model (shipped: {shipped}).")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=files, local_files_only=local_files_only))
    except Exception as error:  # the hub client raises many unrelated types (HTTP, validation, offline, OS)
        reason = _LOGIN.sub(r"\1***@", str(error)).strip().partition("\n")[0] or type(error).__name__
        raise ModelNotFoundError(
            f"no model {name!r}: no folder of that name, not a shipped model (shipped: {shipped}), "
            f"and the hub did not give it ({type(error).__name__}: {reason:.200})."
        ) from error


def _read_folder(name: str, path: Path) -> ModelFolder:
    if (path / FILE_NAME).is_file():
        return ModelFolder(name, path, EncoderConfig.read(path))
    if (path / "modules.json").is_file():
        found = read_sentence_transformers_folder(path)
        return ModelFolder(name, found.network, found.config, found.query_table)
    return ModelFolder(name, path, NetworkConfig(path).encoder_config({}))


def _check_query_network(query: ModelFolder) -> None:
    """The subfolder is there, and its network has as many terms as the documents': the two share one tokenizer."""
    if not query.path.is_dir():
        raise ModelFormatError(f"{query.path.parent} has no subfolder {QUERY_FOLDER!r} with its query network: the download is incomplete.")
    _check_weights(query)
    if not (query.path / "config.json").is_file() and query.has_onnx and not query.has_weights:
        return  # an exported graph: its width is checked when it is loaded
    size = NetworkConfig(query.path).vocab_size
    if size != query.config.vocab_size:
        raise ModelFormatError(
            f"{query.path} has a vocabulary of {size} terms, the documents' network one of {query.config.vocab_size}: "
            "both must have the same, since they share a tokenizer and their vectors are multiplied."
        )


def _check_concepts(concepts: ModelFolder) -> None:
    missing = next((name for name in CONCEPTS_FILES if not (concepts.path / name).is_file()), None)
    if missing is not None:
        raise ModelFormatError(f"{concepts.path} has no {missing}, a part of the model's concepts: the download is incomplete.")
    _check_safetensors(concepts)


def _check_weights(folder: ModelFolder) -> None:
    if (folder.path / "adapter_config.json").is_file():  # transformers would load the model that it names instead of this one
        raise ModelFormatError(
            f"{folder.path} holds an adapter (adapter_config.json): merge it into the model (peft: merge_and_unload, then save_pretrained)."
        )
    if folder.config.words is not None and not (folder.path / folder.config.words.file).is_file():
        raise ModelFormatError(f"{folder.path} has no {folder.config.words.file!r}, its table of terms: the download is incomplete.")
    if folder.has_onnx or folder.has_weights or folder.config.words is not None:
        _check_safetensors(folder)
        return
    pickled = [*folder.path.glob("pytorch_model*.bin"), *folder.path.glob("*.pt")]
    if pickled:
        raise ModelFormatError(
            f"{folder.path} has only pickled weights ({pickled[0].name}), which can run code when loaded: convert them with "
            f"transformers (model.save_pretrained writes safetensors), or ask for a revision with safetensors."
        )
    raise ModelFormatError(f"{folder.path} holds no weights: expected {WEIGHTS_FILE} or {ONNX_FILE}.")


def _check_safetensors(folder: ModelFolder) -> None:
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.path.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelFormatError(f"{path} is broken or incomplete ({error}): download or export the model again.") from error
