"""The subfolder `concepts` of a model: graph, tokenizer and directions, as the package reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from splade_ptbr_connectors.encoding.config import ConceptSettings, OnnxSettings
from splade_ptbr_connectors.encoding.fingerprint import sha256_of
from splade_ptbr_connectors.encoding.folder import HEAD_FILE, ONNX_FILE
from splade_ptbr_connectors.encoding.int8_products import multiply_in_int8
from splade_ptbr_connectors.encoding.onnx_graph import exported_graph, write_graph
from splade_ptbr_connectors.encoding.quantization import shrink
from training.recipe.concepts import Concepts
from training.words.concepts.directions import Directions
from training.words.concepts.moments import Moments
from training.words.concepts.teacher import SentenceEncoder
from training.words.counts import as_int8

_OUTPUT = "embeddings"
Centres = tuple[NDArray[np.float32], NDArray[np.float32]]


def save_concepts(
    student: SentenceEncoder,
    tokenizer: Tokenizer,
    directions: Directions,
    moments: Moments,
    centres: Centres,
    section: Concepts,
    folder: Path,
) -> ConceptSettings:
    """Writes the files and describes them."""
    folder.mkdir(parents=True, exist_ok=True)
    student.backbone.set_attn_implementation("sdpa")  # the form that becomes one operator
    graph = exported_graph(student.eval(), student.backbone, _OUTPUT)
    multiply_in_int8(graph)
    shrink(graph.graph, "int8")  # the table of pieces
    write_graph(graph, folder / ONNX_FILE)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    save_file(head_tensors(directions, moments, centres), folder / HEAD_FILE)
    digest = sha256_of([folder / ONNX_FILE])
    return ConceptSettings(
        size=section.size,
        dimensions=directions.weight.shape[1],
        pieces=tokenizer.get_vocab_size(),
        max_length=section.max_length_document,
        top_query=section.top_query,
        top_document=section.top_document,
        scale_query=section.scale,
        prompt_query=section.prompt_query,
        prompt_document=section.prompt_document,
        onnx=OnnxSettings.of_export(digest, digest),
    )


def head_tensors(directions: Directions, moments: Moments, centres: Centres) -> dict[str, NDArray[Any]]:
    """As encoding/concept_heads.py reads them: matrices in int8."""
    matrices = {
        "document.directions": directions.weight.detach().numpy(),
        "query.with_similarity": moments.with_similarity,
        "query.correlations": moments.correlations,
    }
    tensors: dict[str, NDArray[Any]] = {
        "query.centre": centres[0].astype(np.float32),
        "document.centre": centres[1].astype(np.float32),
        "document.bias": directions.bias_document.detach().numpy(),
        "query.deviations": moments.deviations,
    }
    for name, matrix in matrices.items():
        tensors[name] = np.ascontiguousarray(as_int8(matrix))  # a file of tensors keeps memory as it lies
        tensors[f"{name}.scale"] = (np.abs(matrix).max(axis=1) / 127).astype(np.float32)
    return tensors
