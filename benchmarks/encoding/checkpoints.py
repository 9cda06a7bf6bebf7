"""The checkpoints that `encode` measures, as each runner reads them: `mini-bert`, and a BERT of base size with random weights."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.config import EncoderConfig, QuerySettings
from splade_ptbr_connectors.encoding.folder import find_model
from splade_ptbr_connectors.encoding.sentence_transformers_writer import write_sentence_transformers_files
from splade_ptbr_connectors.encoding.storage import Storage
from splade_ptbr_connectors.encoding.tokens import load_tokenizer, special_ids

NETWORK_FILES = ("config.json", "model.safetensors", "tokenizer.json")


@dataclass(frozen=True)
class Checkpoint:
    """One set of weights in every form.

    Attributes:
        torch, onnx, int8: models of ours; sentence_transformers: the folder that SparseEncoder reads.
        special_ids: terms that sentence-transformers keeps in its vectors and this package drops.
        judged: whether a ranking by its vectors says anything.
    """

    name: str
    torch: str
    onnx: str
    int8: str
    sentence_transformers: str
    special_ids: tuple[int, ...]
    judged: bool

    @property
    def max_length(self) -> int:
        """Tokens of a document, special ones included."""
        return find_model(self.torch).config.max_length_document


def shipped(name: str, place: Path) -> Checkpoint:
    """A model of the package; what is missing is made below `place`."""
    model, folder = find_model(name), sentence_transformers_folder(name, place)
    int8 = _export(name, place / f"{name}-int8", "int8-dynamic")
    return Checkpoint(name, name, name, int8, str(folder), _special_ids(model.path, model.config), judged=True)


def sentence_transformers_folder(name: str, place: Path) -> Path:
    """The network of a model as sentence-transformers reads it.

    It has neither a lexical channel nor, in one folder, a query table: it gets both as modules (see runners.py).
    """
    model = find_model(name)
    folder = place / f"{name}-sentence-transformers"
    folder.mkdir(parents=True)
    for file in NETWORK_FILES:
        shutil.copyfile(model.path / file, folder / file)
    plain = model.config.model_copy(update={"lexical": None, "query": QuerySettings(), "onnx": None})
    write_sentence_transformers_files(folder, plain)
    return folder


def random_bert(place: Path, *, layers: int = 12, hidden: int = 768, length: int = 256) -> Checkpoint:
    """A BERT with random weights, the vocabulary of `mini-bert` and plain SPLADE pooling: one folder that both runners read."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    mini = find_model("mini-bert")
    folder = place / "base"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    network = BertConfig(
        vocab_size=mini.config.vocab_size,
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=max(1, hidden // 64),
        intermediate_size=4 * hidden,
    )
    BertForMaskedLM(network).save_pretrained(folder)
    shutil.copyfile(mini.path / "tokenizer.json", folder / "tokenizer.json")
    settings = {"vocab_size": mini.config.vocab_size, "max_length_query": length, "max_length_document": length}
    config = EncoderConfig.checked({**settings, "text": mini.config.text.model_dump()}, "base")
    config.write(folder)
    write_sentence_transformers_files(folder, config)
    onnx, int8 = (_export(str(folder), place / f"base-{storage}", storage) for storage in _STORAGES)
    return Checkpoint("base", str(folder), onnx, int8, str(folder), _special_ids(folder, config), judged=False)


_STORAGES: tuple[Storage, Storage] = ("float32", "int8-dynamic")


def _export(model: str, out: Path, storage: Storage) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter about its own parts
        return str(SpladeEncoder.load(model, runtime="torch").export_onnx(out, storage=storage))


def _special_ids(folder: Path, config: EncoderConfig) -> tuple[int, ...]:
    return tuple(special_ids(load_tokenizer(folder, config.vocab_size)))
