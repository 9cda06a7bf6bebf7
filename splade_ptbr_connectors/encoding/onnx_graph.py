"""The ONNX graph of a model: from token ids to activations, pooling included.

The backbone is exported up to the features f [B, L, H]; pooling and the lexical channel are a Scan over the texts of the
batch, so the largest tensor is [V, L] of one text, never [B, L, V]. Attention becomes one operator of onnxruntime, which keeps no
second copy of the [heads, L, L] scores: written out, as the exporter does it, with a mask added to the scores and a guard against
rows without any token, it costs a third of the time of a small model, and most of its memory on long texts.

    inputs   input_ids int64 [B, L], attention_mask int64 [B, L]
    output   activations float32 [B, V]
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from .int8_products import multiply_in_int8
from .quantization import shrink
from .storage import check_storage
from .torch_model import LexicalChannel, SpladeModel

OPSET = 18
MASKED_BY_PADDING_ALONE = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert")
"""Model types whose tokens attend to every token of the text: the operator's mask says no more than that."""
_DOMAIN, _MASK = "com.microsoft", "attention_padding"


class _FeatureNetwork(nn.Module):
    def __init__(self, model: SpladeModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model.features(input_ids, attention_mask)


def export_onnx(model: SpladeModel, path: str | Path, *, storage: str = "float32") -> None:
    """Write `model` as one ONNX file, whole or not at all.

    Args:
        storage: "float32", "float16" or "int8" (see `storage.round_model`, which should come first: the file holds rounded weights);
            "int8-dynamic": products in int8 (int8_products.py).
    """
    check_storage(storage)
    target = Path(path)
    graph = _with_attention(_features_graph(model.eval()), model.backbone)
    _PoolingBuilder(graph.graph, model, tied=storage != "int8-dynamic").add_pooling()
    if storage == "int8-dynamic":
        multiply_in_int8(graph)
    elif storage != "float32":
        shrink(graph.graph, storage)
    write_graph(graph, target)


def write_graph(graph: ModelProto, target: Path) -> None:
    """Write a graph that is in order, whole or not at all."""
    onnx.checker.check_model(graph)
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.write_bytes(graph.SerializeToString())
    os.replace(partial, target)


def exported_graph(network: nn.Module, backbone: Any, output: str) -> ModelProto:
    """The graph of a network over a backbone, with dynamic batch and length, and attention as one operator.

    Args:
        network: takes ids and mask [B, L].
        output: its output's name.
    """
    return _with_attention(_as_onnx(network, backbone, output), backbone)


def _features_graph(model: SpladeModel) -> ModelProto:
    return _as_onnx(_FeatureNetwork(model), model.backbone, "features")


def _with_attention(graph: ModelProto, backbone: Any) -> ModelProto:
    if backbone.config.model_type in MASKED_BY_PADDING_ALONE:
        fuse_attention(graph, backbone.config.num_attention_heads)
    return graph


def _as_onnx(network: nn.Module, backbone: Any, output: str) -> ModelProto:
    positions = getattr(backbone.config, "max_position_embeddings", None)  # None: relative positions, no limit (T5)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=positions)
    example = torch.randint(5, min(50, backbone.config.vocab_size), (2, 7))
    mask = torch.ones_like(example)
    mask[1, 4:] = 0
    exportable = getattr(backbone, "exportable", contextlib.nullcontext)
    with exportable(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "features.onnx"
        torch.onnx.export(
            network,
            (example, mask),
            str(file),
            input_names=["input_ids", "attention_mask"],
            output_names=[output],
            dynamic_shapes={"input_ids": {0: batch, 1: length}, "attention_mask": {0: batch, 1: length}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        return _without_traces(onnx.load(str(file)))


def _without_traces(model: ModelProto) -> ModelProto:
    """Without what the exporter notes about its own run: stack traces with the paths of this machine."""
    del model.metadata_props[:]
    for scope in (model.graph, *model.functions):
        del scope.metadata_props[:]
        for entry in (*scope.node, *scope.value_info):
            del entry.metadata_props[:]
            entry.doc_string = ""
    return model


# -- pooling -------------------------------------------------------------------------------------------------------------


class _PoolingBuilder:
    """Appends pooling and the lexical channel to the graph of the features.

    Args:
        tied: use the table of the input embeddings for the output projection too, where the model does; else a transposed copy.
    """

    def __init__(self, graph: GraphProto, model: SpladeModel, *, tied: bool) -> None:
        self.graph, self.model, self.tied = graph, model, tied
        self.body: list[NodeProto] = []
        self.count = 0
        self.weight = self._head_weight(model.head.weight.detach()) if model.expansion else ""
        self.bias = self.constant("pool_bias", model.head_bias.detach().numpy()) if model.expansion else ""

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _head_weight(self, weight: Tensor) -> str:
        return self._shared(weight) if self.tied else self.constant("pool_weight", weight.t().numpy())

    def _shared(self, weight: Tensor) -> str:
        """The initializer that already holds the output projection (tied embeddings), or a new one."""
        wanted = weight.numpy()
        for entry in self.graph.initializer:
            if tuple(entry.dims) == wanted.shape and np.array_equal(numpy_helper.to_array(entry), wanted):
                return str(entry.name)
        return self.constant("pool_weight", wanted)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node of the body of the Scan; its output's name."""
        self.count += 1
        output = f"pool_{kind}_{self.count}"
        self.body.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def axes(self, *values: int) -> str:
        name = "pool_axes_" + "_".join(str(v).replace("-", "m") for v in values)
        if name not in {entry.name for entry in self.graph.initializer}:
            self.constant(name, np.array(values, dtype=np.int64))
        return name

    def number(self, value: float) -> str:
        name = f"pool_number_{value!r}".replace("-", "m").replace(".", "p")
        if name not in {entry.name for entry in self.graph.initializer}:
            self.constant(name, np.array(value, dtype=np.float32))
        return name

    def add_pooling(self) -> None:
        """Replace the output `features` by `activations`."""
        kept = self.node("Cast", "item_mask", to=TensorProto.BOOL)
        pooled = self._pooled_positions(kept)
        result = self._pooled_sum(self._logits(), pooled) if self.model.pooling == "sum" else self._pooled_max(kept, pooled)
        self.body.append(helper.make_node("Identity", [result], ["item_activations"]))
        self._close_scan()

    def _pooled_positions(self, kept: str) -> str:
        """[L] the positions that are pooled: all that are kept, without those of the unpooled tokens."""
        if not len(self.model.unpooled_ids):
            return kept
        table = torch.zeros(self.model.vocab_size, dtype=torch.bool)
        table[self.model.unpooled_ids] = True
        unpooled = self.node("Gather", self.constant("pool_left_out", table.numpy()), "item_ids")
        return self.node("And", kept, self.node("Not", unpooled))

    def _log1p_relu(self, value: str) -> str:
        return self.node("Log", self.node("Add", self.node("Relu", value), self.number(1.0)))

    def _pooled_sum(self, logits: str, kept: str) -> str:
        biased = self.node("Add", logits, self.node("Unsqueeze", self.bias, self.axes(1)))
        shares = self.node("Where", kept, self._log1p_relu(biased), self.number(0.0))
        return self.node("ReduceSum", shares, self.axes(1), keepdims=0)

    def _logits(self) -> str:
        """[V, L] products of every term with every token."""
        if not self.tied:
            return self.node("Transpose", self.node("MatMul", "item_features", self.weight), perm=[1, 0])
        return self.node("MatMul", self.weight, self.node("Transpose", "item_features", perm=[1, 0]))

    def _pooled_max(self, kept: str, pooled: str) -> str:
        if self.model.expansion:
            masked = self.node("Where", pooled, self._logits(), self.number(-1e30))
            best = self.node("Add", self.node("ReduceMax", masked, self.axes(1), keepdims=0), self.bias)
        else:
            best = self.constant("pool_nothing", np.zeros(self.model.vocab_size, dtype=np.float32))
        if self.model.lexical is not None:
            best = self._lexical_max(best, kept, self.model.lexical)
        return self._log1p_relu(best)

    def _lexical_max(self, best: str, kept: str, lexical: LexicalChannel) -> str:
        """[V] maximum with the logits of the lexical pairs."""
        saturation = self._weighted(self._saturation(kept, lexical), lexical)  # [L]
        own = self.node("Unsqueeze", "item_ids", self.axes(1))
        table = self.constant("lexical_gain", lexical.gain.detach().numpy())
        gain = self.node("Unsqueeze", self.node("Gather", table, "item_ids"), self.axes(1))
        terms, gains = own, gain
        if lexical.neighbours.shape[1]:
            table = self.constant("lexical_neighbours", lexical.neighbours.numpy())
            more = self.node("Cast", self.node("Gather", table, "item_ids"), to=TensorProto.INT64)
            weights = self.constant("lexical_neighbour_gain", lexical.neighbour_gain.detach().numpy())
            terms = self.node("Concat", own, more, axis=1)  # [L, 1 + K]
            gains = self.node("Concat", gain, self.node("Gather", weights, "item_ids"), axis=1)
        column = self.node("Unsqueeze", saturation, self.axes(1))
        bonus = self.node("Sub", self.node("Exp", self.node("Mul", gains, column)), self.number(1.0))
        known = self.node("Not", self.node("Less", terms, self._integer(0)))
        real = self.node("And", known, self.node("Greater", column, self.number(0.0)))
        place = self.node("Max", terms, self._integer(0))
        logits = self.node("Where", real, bonus, self.number(-1e30))
        flat = self.axes(-1)
        terms, logits = self.node("Reshape", place, flat), self.node("Reshape", logits, flat)
        return self.node("ScatterElements", best, terms, logits, axis=0, reduction="max")

    def _integer(self, value: int) -> str:
        name = f"pool_integer_{value}"
        if name not in {entry.name for entry in self.graph.initializer}:
            self.constant(name, np.array(value, dtype=np.int64))
        return name

    def _saturation(self, kept: str, lexical: LexicalChannel) -> str:
        """[L] BM25's saturation of the term frequency, 0 for special tokens and padding."""
        special = self.node("Gather", self.constant("lexical_special", lexical.special.numpy()), "item_ids")
        counted = self.node("And", kept, self.node("Not", special))
        classes = self.node("Gather", self.constant("lexical_classes", lexical.classes.numpy()), "item_ids")
        same = self.node("Equal", self.node("Unsqueeze", classes, self.axes(1)), self.node("Unsqueeze", classes, self.axes(0)))
        both = self.node("And", same, self.node("Unsqueeze", counted, self.axes(0)))
        frequency = self.node("ReduceSum", self.node("Cast", both, to=TensorProto.FLOAT), self.axes(1), keepdims=0)
        length = self.node("ReduceSum", self.node("Cast", counted, to=TensorProto.FLOAT), self.axes(0), keepdims=0)
        slope = self.node("Mul", length, self.number(lexical.k1 * lexical.b / lexical.average_length))
        norm = self.node("Add", slope, self.number(lexical.k1 * (1.0 - lexical.b)))
        value = self.node("Div", self.node("Mul", frequency, self.number(lexical.k1 + 1.0)), self.node("Add", frequency, norm))
        return self.node("Where", counted, value, self.number(0.0))

    def _weighted(self, saturation: str, lexical: LexicalChannel) -> str:
        """[L] saturation times the importance of each token in its context."""
        if lexical.importance is None:
            return saturation
        vector = self.constant("lexical_importance", lexical.importance.detach().numpy())
        logarithm = self.node("Clip", self.node("MatMul", "item_features", vector), self.number(-3.0), self.number(1.0))
        return self.node("Mul", saturation, self.node("Exp", logarithm))

    def _close_scan(self) -> None:
        """Put the body into a Scan over the texts of the batch and makes its result the graph's output."""
        info = helper.make_tensor_value_info
        body = helper.make_graph(
            self.body,
            "one_text",
            [
                info("item_features", TensorProto.FLOAT, ["L", self.model.head.weight.shape[1]]),
                info("item_ids", TensorProto.INT64, ["L"]),
                info("item_mask", TensorProto.INT64, ["L"]),
            ],
            [info("item_activations", TensorProto.FLOAT, [self.model.vocab_size])],
        )
        inputs = ["features", "input_ids", "attention_mask"]
        self.graph.node.append(helper.make_node("Scan", inputs, ["activations"], body=body, num_scan_inputs=3))
        del self.graph.output[:]
        self.graph.output.append(info("activations", TensorProto.FLOAT, ["batch", self.model.vocab_size]))


# -- attention -----------------------------------------------------------------------------------------------------------


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
