"""Attention of an exported graph as one operator of onnxruntime, which keeps no second copy of the [heads, L, L] scores.

The exporter writes attention out, with a mask added to the scores and a guard against rows without any token. That costs a
third of the time of a small model, and most of its memory on long texts.
"""

from __future__ import annotations

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

MASKED_BY_PADDING_ALONE = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert")
"""Model types whose tokens attend to every token of the text: the operator's mask says no more than that."""
_DOMAIN, _MASK = "com.microsoft", "attention_padding"


def fuse_attention(model: ModelProto, heads: int) -> int:
    """Put MultiHeadAttention in the place of every attention that has the exporter's form; returns how many there were.

    Only for networks in which padding is all that is masked, before anything with a body (Scan) is added. A text without any
    kept token gets other (finite) features.
    """
    graph = model.graph
    fused = sum(_fuse(graph, softmax, heads) for softmax in [node for node in graph.node if node.op_type == "Softmax"])
    if fused:
        graph.node.insert(0, helper.make_node("Cast", ["attention_mask"], [_MASK], to=TensorProto.INT32))
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
        _remove_unused(graph)
    return fused


def _fuse(graph: GraphProto, softmax: NodeProto, heads: int) -> bool:
    """Softmax(q k + mask) v, joined to [B, L, H] again, as one node."""
    made = {output: node for node in graph.node for output in node.output}
    masked = made.get(softmax.input[0])
    scores = made.get(masked.input[0]) if masked is not None and masked.op_type == "Add" else None
    joined = _joined(graph, softmax.output[0])
    if scores is None or scores.op_type != "MatMul" or joined is None:
        return False
    weighted, end = joined
    factors = [made.get(name) for name in scores.input]
    scale = _scale(graph, factors)
    if scale is None:
        return False
    projections = [_projection(made, node.input[0]) for node in factors if node is not None]
    inputs = [*projections, _projection(made, weighted.input[1]), "", _MASK]
    node = helper.make_node("MultiHeadAttention", inputs, list(end.output), name=end.name, domain=_DOMAIN, num_heads=heads, scale=scale)
    place = list(graph.node).index(end)
    graph.node.remove(end)
    graph.node.insert(place, node)
    return True


def _joined(graph: GraphProto, probabilities: str) -> tuple[NodeProto, NodeProto] | None:
    """The product with the values, and the Reshape that puts the heads side by side; through the guard against NaN."""
    users = [node for node in graph.node if probabilities in node.input]
    for node in users:
        if node.op_type == "Where":
            return _joined(graph, node.output[0])
    weighted = next((node for node in users if node.op_type == "MatMul"), None)
    after = weighted
    for kind in ("Transpose", "Reshape"):
        name = after.output[0] if after is not None else ""
        after = next((node for node in graph.node if node.op_type == kind and node.input[0] == name), None)
    return None if weighted is None or after is None else (weighted, after)


def _scale(graph: GraphProto, factors: list[NodeProto | None]) -> float | None:
    """Product of the constants that queries and keys are multiplied by; None where they are not."""
    constants = {entry.name: entry for entry in graph.initializer}
    scale = 1.0
    for node in factors:
        if node is None or node.op_type != "Mul" or node.input[1] not in constants:
            return None
        value = numpy_helper.to_array(constants[node.input[1]])
        if value.size != 1:
            return None
        scale *= float(value.reshape(()))
    return scale


def _projection(made: dict[str, NodeProto], name: str) -> str:
    """The [B, L, H] tensor that was split into heads."""
    while name in made and made[name].op_type in ("Transpose", "Reshape"):
        name = made[name].input[0]
    return name


def _remove_unused(graph: GraphProto) -> None:
    """Nodes whose outputs nobody reads any more, those that only fed them, and their constants."""
    while unused := _unread(graph):
        for node in unused:
            graph.node.remove(node)
    read = _read(graph)
    for entry in [entry for entry in graph.initializer if entry.name not in read]:
        graph.initializer.remove(entry)


def _read(graph: GraphProto) -> set[str]:
    """Names of everything that a node reads or the graph gives."""
    return {name for node in graph.node for name in node.input} | {output.name for output in graph.output}


def _unread(graph: GraphProto) -> list[NodeProto]:
    read = _read(graph)
    return [node for node in graph.node if not read.intersection(node.output)]
