"""A small model of words and concepts: the words of words_model.py, and a graph that gives a piece's row of a table, averaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from splade_ptbr_connectors.encoding.config import OnnxSettings
from splade_ptbr_connectors.encoding.fingerprint import sha256_of
from tests.unit.encoding import words_model
from tests.unit.encoding.tiny import sentencepiece_tokenizer
from tests.unit.encoding.words_model import TERMS, TOKENS, WEIGHTS, gate, make_words_model, thesaurus, vectors

SIZE, WIDTH, FIRST = 10, 6, len(TOKENS)
TOP = {"query": 3, "document": 4}
NAMES = [f"≈concept·{n}" for n in range(SIZE)]
TABLE_SEED = 5


def pieces() -> Tokenizer:
    """Pieces of the sentence encoder."""
    return sentencepiece_tokenizer(["<s>", "<pad>", "</s>", "<unk>"], "<s> $A </s>")


def table() -> np.ndarray:
    """[pieces, WIDTH]."""
    return np.random.default_rng(TABLE_SEED).normal(size=(pieces().get_vocab_size(), WIDTH)).astype(np.float32)


def head() -> dict[str, np.ndarray]:
    """Random directions, and correlations of random codes."""
    rng = np.random.default_rng(6)
    codes = rng.normal(size=(40, SIZE))
    matrices = {
        "document.directions": rng.normal(size=(SIZE, WIDTH)),
        "query.with_similarity": rng.normal(size=(SIZE, WIDTH)),
        "query.correlations": np.corrcoef(codes.T),
    }
    tensors: dict[str, np.ndarray] = {"query.deviations": (0.2 + rng.random(SIZE)).astype(np.float32)}
    for name, matrix in matrices.items():
        scale = np.abs(matrix).max(axis=1) / 127
        tensors[name] = np.round(matrix / scale[:, None]).astype(np.int8)
        tensors[f"{name}.scale"] = scale.astype(np.float32)
    for side in ("query", "document"):
        tensors[f"{side}.centre"] = 0.1 * rng.normal(size=WIDTH).astype(np.float32)
    return tensors | {"document.bias": 0.1 * rng.normal(size=SIZE).astype(np.float32)}


def matrix(name: str) -> np.ndarray:
    """One of them, as it is meant."""
    tensors = head()
    return tensors[name] * tensors[f"{name}.scale"][:, None]


def write_graph(path: Path, width: int = WIDTH) -> None:
    """Mean of the rows of a text's pieces."""
    ints = [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "l"]) for name in ("input_ids", "attention_mask")]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
        helper.make_node("Mul", ["rows", "mask3"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "one"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["embeddings"]),
    ]
    constants = [numpy_helper.from_array(v, n) for n, v in (("table", table()), ("last", np.int64([2])), ("one", np.int64([1])))]
    out = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["b", width])
    graph = helper.make_graph(nodes, "mean", ints, [out], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))


def make_concepts_model(folder: Path, *, tensors: dict[str, np.ndarray] | None = None, **settings: Any) -> Path:
    """Write the model's folder; gives it back."""
    make_words_model(folder)
    part = folder / "concepts"
    part.mkdir()
    pieces().save(str(part / "tokenizer.json"))
    write_graph(part / "model.onnx")
    save_file(head() | (tensors or {}), part / "head.safetensors")
    vocabulary = json.loads(words_model.tokenizer().to_str())
    vocabulary["model"]["vocab"] |= {name: FIRST + n for n, name in enumerate(NAMES)}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    save_file({"terms": np.append(TERMS, np.full(SIZE, -1, np.int32))}, folder / "words.safetensors")
    weights = np.append(WEIGHTS, np.zeros(SIZE, np.float32))
    save_file({"weights": weights, "vectors": vectors()} | thesaurus().tensors() | gate(), folder / "expansion.safetensors")
    digest = sha256_of([part / "model.onnx"])
    concepts = {
        "size": SIZE,
        "dimensions": WIDTH,
        "pieces": pieces().get_vocab_size(),
        "max_length": 128,
        "top_query": TOP["query"],
        "top_document": TOP["document"],
        "scale_query": 2.5,
        "prompt_query": "qual ",
        "prompt_document": "casa ",
        "onnx": OnnxSettings.of_export(digest, digest).model_dump(),
    }
    config = json.loads((folder / "splade.json").read_text(encoding="utf-8")) | {
        "vocab_size": FIRST + SIZE,
        "concepts": concepts | settings,
    }
    (folder / "splade.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
