"""Products by constant matrices in int8, in a graph: each row of the other side is rounded by a range of its own.

A row x [K] is x = low + step n with n of 0 ... 127, so that x W = step (n W) + low sum(W), of which n W is a product of integers.
A range for each row, which is a token, keeps a token's neighbours in the batch out of its features. Seven bits, because processors
without VNNI add products of int8 in pairs, in 16 bits: 2 x 127 x 127 fits into them, 2 x 255 x 127 is cut without a word.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from .quantization import as_int8

LEVELS = 127
SMALLEST_STEP = 1e-12  # of a row of one number, repeated
_DOMAIN = "com.microsoft"
_AXIS, _SHARE, _SMALLEST, _ONE = "int8_axis", "int8_share", "int8_smallest", "int8_one"


def multiply_in_int8(model: ModelProto) -> None:
    """Replace every product by a constant matrix [K, N] in place; the matrix is stored in int8, with a scale for each column."""
    graph = model.graph
    matrices = {entry.name: entry for entry in graph.initializer if _is_matrix(entry)}
    products = (node for scope in _scopes(graph) for node in scope.node if _is_product(node, matrices))
    replaced = dict.fromkeys(node.input[1] for node in products)  # in order: the same model gives the same file
    for name in replaced:
        _store(graph, name, numpy_helper.to_array(matrices[name]))
    for scope in _scopes(graph):
        _replace_products(scope, replaced)
    for name in replaced.keys() - set(_inputs(graph)):
        graph.initializer.remove(matrices[name])
    if replaced:
        constants = {_AXIS: np.array([-1]), _SHARE: np.float32(1 / LEVELS), _SMALLEST: np.float32(SMALLEST_STEP), _ONE: np.float32(1)}
        graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    if _DOMAIN not in {opset.domain for opset in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))


def _is_matrix(entry: TensorProto) -> bool:
    return entry.data_type == TensorProto.FLOAT and len(entry.dims) == 2


def _is_product(node: NodeProto, matrices: Container[str]) -> bool:
    return node.op_type == "MatMul" and node.input[1] in matrices


def _scopes(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph and the bodies of its nodes."""
    yield graph
    for node in graph.node:
        yield from (attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH)


def _inputs(graph: GraphProto) -> Iterator[str]:
    return (name for scope in _scopes(graph) for node in scope.node for name in node.input)


def _store(graph: GraphProto, name: str, matrix: NDArray[Any]) -> None:
    whole, scales = _rounded(matrix)
    sums = whole.sum(axis=0, dtype=np.int64) * scales
    for part, value in (("int8", whole), ("scales", scales), ("sums", sums.astype(np.float32))):
        graph.initializer.append(numpy_helper.from_array(value, f"{name}_{part}"))


def _rounded(matrix: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """([K, N] int8, [N] scales); nothing is lost where columns are rounded already (storage.round_rows)."""
    stored = as_int8(matrix)
    if stored is not None and stored[1].shape[0] == 1:
        return stored[0], stored[1][0]
    scales = np.maximum(np.abs(matrix).max(axis=0), np.float32(1e-30)) / np.float32(127)
    return np.rint(matrix / scales).astype(np.int8), scales.astype(np.float32)


def _replace_products(scope: GraphProto, matrices: Container[str]) -> None:
    nodes: list[NodeProto] = []
    rounded = set[str]()  # one rounding for all products of a tensor: queries, keys and values of attention
    for node in scope.node:
        if not _is_product(node, matrices):
            nodes.append(node)
            continue
        rows, matrix = node.input
        if rows not in rounded:
            nodes += _rounding(rows)
            rounded.add(rows)
        nodes += _product(rows, matrix, node.output[0])
    del scope.node[:]
    scope.node.extend(nodes)


def _rounding(x: str) -> list[NodeProto]:
    """`{x}_n` of uint8, `{x}_step` and `{x}_low`."""
    node = helper.make_node
    return [
        node("ReduceMax", [x, _AXIS], [f"{x}_high"], keepdims=1),
        node("ReduceMin", [x, _AXIS], [f"{x}_low"], keepdims=1),
        node("Sub", [f"{x}_high", f"{x}_low"], [f"{x}_range"]),
        node("Mul", [f"{x}_range", _SHARE], [f"{x}_share"]),
        node("Max", [f"{x}_share", _SMALLEST], [f"{x}_step"]),
        node("Sub", [x, f"{x}_low"], [f"{x}_above"]),
        node("Div", [f"{x}_above", f"{x}_step"], [f"{x}_steps"]),
        node("Round", [f"{x}_steps"], [f"{x}_whole"]),
        node("Cast", [f"{x}_whole"], [f"{x}_n"], to=TensorProto.UINT8),
    ]


def _product(x: str, matrix: str, output: str) -> list[NodeProto]:
    """`output`; its parts are named otherwise than those of a rounding, which it may be the next to have."""
    node = helper.make_node
    return [
        node("MatMulIntegerToFloat", [f"{x}_n", f"{matrix}_int8", _ONE, f"{matrix}_scales"], [f"{output}_product"], domain=_DOMAIN),
        node("Mul", [f"{output}_product", f"{x}_step"], [f"{output}_scaled"]),
        node("Mul", [f"{x}_low", f"{matrix}_sums"], [f"{output}_offset"]),
        node("Add", [f"{output}_scaled", f"{output}_offset"], [output]),
    ]
