"""How a model's weights are stored, rounded: float16, int8 with scales, or products in int8 (int8-dynamic).

Weights are rounded in the torch model first (round_model), so that every runtime computes with the same numbers; the exported graph
then holds them in the smaller type (shrink), which loses nothing more. int8-dynamic rounds inputs of products too, as they come
(int8_products.py): everything else (embeddings, attention scores, normalisation, the lexical channel) stays float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from .storage import check_storage
from .torch_model import SpladeModel

_LARGE = 4096  # tensors with fewer values stay float32


def round_rows(weights: Tensor) -> Tensor:
    """[R, C] rounded to int8 times a power of two per row: exact in int8 with scales, and in float16 as well."""
    scale = _row_scales(weights)
    return (weights / scale).round().clamp(-127, 127) * scale


def _row_scales(weights: Tensor) -> Tensor:
    """[R, 1] the smallest power of two (at least 2^-20) for which a row fits into -127 ... 127."""
    largest = weights.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
    return torch.exp2(torch.ceil(torch.log2(largest / 127.0)).clamp_min(-20))


@torch.no_grad()
def round_model(model: SpladeModel, storage: str) -> None:
    """Round the weights in place to what `storage` can hold, so that every runtime computes with the same numbers."""
    check_storage(storage)
    if storage in ("float32", "int8-dynamic"):  # the latter rounds inputs of products too: no weights of a torch model do the same
        return
    for parameter in model.parameters():
        int8 = storage == "int8" and parameter.dim() == 2 and parameter.numel() >= _LARGE
        rounded = round_rows(parameter) if int8 and not _is_lexical(model, parameter) else parameter.to(torch.float16).to(torch.float32)
        parameter.copy_(rounded)


def _is_lexical(model: SpladeModel, parameter: nn.Parameter) -> bool:
    return model.lexical is not None and any(parameter is other for other in model.lexical.parameters())


# -- in a graph ----------------------------------------------------------------------------------------------------------


def shrink(graph: onnx.GraphProto, storage: str) -> None:
    """Store large initializers as float16, int8 or int16; nodes at the start of the graph give the values back."""
    nodes: list[onnx.NodeProto] = []
    for entry in list(graph.initializer):
        value = numpy_helper.to_array(entry)
        if value.dtype == np.int32 and value.size >= _LARGE and np.abs(value).max() < 2**15:
            _replace(graph, entry, [(entry.name + "_small", value.astype(np.int16))])
            nodes.append(helper.make_node("Cast", [entry.name + "_small"], [entry.name], to=TensorProto.INT32))
        elif value.dtype == np.float32 and value.size >= _LARGE:
            nodes += _shrink_float(graph, entry, value, storage)
    for node in reversed(nodes):
        graph.node.insert(0, node)


def _shrink_float(graph: onnx.GraphProto, entry: onnx.TensorProto, value: NDArray[Any], storage: str) -> list[onnx.NodeProto]:
    """int8 is given back by Cast and Mul: onnxruntime would turn DequantizeLinear before MatMul into arithmetic in int8,
    with a range for a whole batch.
    """
    name = entry.name
    stored = as_int8(value) if storage == "int8" and value.ndim == 2 else None
    if stored is None:
        _replace(graph, entry, [(name + "_half", value.astype(np.float16))])
        return [helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT)]
    _replace(graph, entry, [(name + "_rows", stored[0]), (name + "_scales", stored[1])])
    return [
        helper.make_node("Cast", [name + "_rows"], [name + "_whole"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [name + "_whole", name + "_scales"], [name]),
    ]


def as_int8(value: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """(int8 values, scales that broadcast) when that is exact, also for a transposed matrix; else None."""
    for transposed in (False, True):
        rows = torch.from_numpy(np.array(value.T if transposed else value, order="C"))
        if torch.equal(round_rows(rows), rows):
            scales = _row_scales(rows)
            whole = (rows / scales).round().to(torch.int8)
            stored = (whole.T, scales.T) if transposed else (whole, scales)
            return np.ascontiguousarray(stored[0].numpy()), np.ascontiguousarray(stored[1].numpy())
    return None


def _replace(graph: onnx.GraphProto, entry: onnx.TensorProto, stored: list[tuple[str, NDArray[Any]]]) -> None:
    graph.initializer.remove(entry)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in stored)
