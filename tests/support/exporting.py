"""The graph of a network from a folder, if an equal network was exported before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import pytest
from torch import nn

from splade_ptbr_connectors.encoding import onnx_graph

as_onnx = onnx_graph._as_onnx


def digest(network: nn.Module, backbone: Any, output: str) -> str:
    """Of all that the output comes from: the modules, their configuration and every bit of their tensors."""
    config = f"{backbone.config.to_json_string(use_diff=False)} {backbone.config._attn_implementation}"
    parts = hashlib.sha256(f"{output}\n{type(network)}\n{backbone.training}\n{backbone!r}\n{config}".encode())
    for name, tensor in [*backbone.named_parameters(), *backbone.named_buffers()]:
        parts.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.requires_grad}\n".encode())
        parts.update(tensor.detach().contiguous().numpy().tobytes())
    return parts.hexdigest()


@contextmanager
def each_network_once(folder: Path) -> Iterator[None]:
    def kept(network: nn.Module, backbone: Any, output: str) -> onnx.ModelProto:
        file = folder / digest(network, backbone, output)
        if not file.exists():
            graph = as_onnx(network, backbone, output)
            partial = file.with_name(f"{file.name}.{os.getpid()}")
            partial.write_bytes(graph.SerializeToString())
            partial.replace(file)  # whole, whoever else writes the same
        return onnx.load_model_from_string(file.read_bytes())

    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graph, "_as_onnx", kept)
        yield
