"""Dynamic quantisation of an exported graph: products in int8, with weights rounded once and inputs rounded as they come.

Everything else (embeddings, attention scores, normalisation, the lexical channel) stays float32.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

_OPTIONS = {"EnableSubgraph": True, "MatMulConstBOnly": True}


def quantise(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with every product by a constant matrix in int8: a scale per column of the matrix, one for each input tensor."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, str(source))
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_by_vectors(model.graph),
            extra_options=_OPTIONS,
        )
        return onnx.load(str(target))


def _by_vectors(graph: onnx.GraphProto) -> list[str]:
    """Names of the products with a constant vector: they cost nothing, and feed an exponential."""
    vectors = {entry.name for entry in graph.initializer if len(entry.dims) == 1}
    bodies = [attribute.g for node in graph.node for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    nodes = [node for scope in (graph, *bodies) for node in scope.node]
    return [node.name for node in nodes if node.op_type == "MatMul" and node.input[1] in vectors]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The library recommends a preparation through the root logger, which graphs of this package do not need."""
    logger, level = logging.getLogger(), logging.getLogger().level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
