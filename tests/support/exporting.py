"""The graph of a network's features from a folder, if an equal network was exported before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import pytest

from splade_ptbr_connectors.encoding import onnx_graph
from splade_ptbr_connectors.encoding.torch_model import SpladeModel

features_graph = onnx_graph._features_graph


def digest(model: SpladeModel) -> str:
    """Of all that the features come from: the modules, their configuration and every bit of their tensors."""
    network = model.backbone
    parts = hashlib.sha256(f"{network.training}\n{network!r}\n{network.config.to_json_string(use_diff=False)}".encode())
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        parts.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.requires_grad}\n".encode())
        parts.update(tensor.detach().contiguous().numpy().tobytes())
    return parts.hexdigest()


@contextmanager
def each_network_once(folder: Path) -> Iterator[None]:
    def kept(model: SpladeModel) -> onnx.ModelProto:
        file = folder / digest(model)
        if not file.exists():
            graph = features_graph(model)
            partial = file.with_name(f"{file.name}.{os.getpid()}")
            partial.write_bytes(graph.SerializeToString())
            partial.replace(file)  # whole, whoever else writes the same
        return onnx.load_model_from_string(file.read_bytes())

    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graph, "_features_graph", kept)
        yield
