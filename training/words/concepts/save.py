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
from splade_ptbr_connectors.encoding.onnx_graph import exported_graph, write_graph
from splade_ptbr_connectors.encoding.storage import shrink
from training.recipe.concepts import Concepts
from training.words.concepts.directions import Directions
from training.words.concepts.teacher import SentenceEncoder

_OUTPUT = "embeddings"
Centres = tuple[NDArray[np.float32], NDArray[np.float32]]


def save_concepts(
    student: SentenceEncoder, tokenizer: Tokenizer, directions: Directions, centres: Centres, section: Concepts, folder: Path
) -> ConceptSettings:
    """Writes the files and describes them."""
    folder.mkdir(parents=True, exist_ok=True)
    student.backbone.set_attn_implementation("sdpa")  # the form that becomes one operator
    graph = exported_graph(student.eval(), student.backbone, _OUTPUT)
    shrink(graph.graph, "int8")
    write_graph(graph, folder / ONNX_FILE)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    save_file(_tensors(directions, centres), folder / HEAD_FILE)
    digest = sha256_of([folder / ONNX_FILE])
    return ConceptSettings(
        size=section.size,
        dimensions=directions.weight.shape[1],
        pieces=tokenizer.get_vocab_size(),
        max_length=section.max_length_document,
        top_query=section.top_query,
        top_document=section.top_document,
        scale_query=directions.scale.item() * section.scale,
        prompt_query=section.prompt_query,
        prompt_document=section.prompt_document,
        onnx=OnnxSettings.of_export(digest, digest),
    )


def _tensors(directions: Directions, centres: Centres) -> dict[str, NDArray[Any]]:
    """The directions in int8; the scale of scores is in the queries, so that documents' weights are about those of words."""
    weight = directions.weight.detach().numpy()
    scale = np.maximum(np.abs(weight).max(axis=1), 1e-9) / 127
    tensors: dict[str, NDArray[Any]] = {
        "directions": np.round(weight / scale[:, None]).astype(np.int8),
        "directions.scale": scale.astype(np.float32),
        "query.matrix": directions.matrix.detach().numpy().astype(np.float16),
    }
    for side, centre, bias in (("query", centres[0], directions.bias_query), ("document", centres[1], directions.bias_document)):
        tensors[f"{side}.centre"] = centre.astype(np.float32)
        tensors[f"{side}.bias"] = bias.detach().numpy().astype(np.float32)
    return tensors
