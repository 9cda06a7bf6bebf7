"""The dry run: any batch size, the device and precision of the run, and no reading of data that nobody needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from splade_ptbr_connectors.errors import ConfigError
from training.cost import dry_run
from training.cost.dry_run import dry_run_report
from training.data.batches import Batch, Example, collate
from training.data.training_data import SAMPLED_STEPS, SampledPassages
from training.loop import device
from training.loop.run import train
from training.recipe.file import load_recipe

Changes = Sequence[str]


def report(recipe: Path, data_dir: Path, *changes: str) -> dict[str, str]:
    lines = dry_run_report(load_recipe(recipe, list(changes)), data_dir).splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize("queries", [1, 2, 3, 8])
def test_any_batch_size_is_calibrated(smoke_recipe: Path, data_dir: Path, queries: int) -> None:
    found = report(smoke_recipe, data_dir, f"training.batch_queries = {queries}")
    assert found["time"].endswith("without validation and saving")
    assert found["a batch"].startswith(f"{queries} queries")
    assert "24 (24 batches)" in found["steps"]


def test_a_batch_of_one_document_is_not_measured(smoke_recipe: Path, data_dir: Path) -> None:
    assert report(smoke_recipe, data_dir, "training.batch_queries = 1", "data.negatives = 0")["time"] == "not measured"


@pytest.mark.parametrize(("precision", "mixed"), [("float32", False), ("bfloat16", True)])
def test_it_times_what_the_run_computes(
    smoke_recipe: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, precision: str, mixed: bool
) -> None:
    """In training mode, with the recipe's numbers, on the device of the run, a part of what one process has."""
    seen: list[tuple[Any, ...]] = []
    whole = dry_run.batch_backward

    def watched(model: Any, queries: Any, documents: Any, loss: Any, *, chunk: int | None) -> Any:
        seen.append((model.training, torch.is_autocast_enabled("cpu"), documents.input_ids.device.type, len(documents.input_ids), chunk))
        return whole(model, queries, documents, loss, chunk=chunk)

    monkeypatch.setattr(dry_run, "batch_backward", watched)
    monkeypatch.setenv("WORLD_SIZE", "2")
    where = device.training_device().type
    found = report(smoke_recipe, data_dir, f"training.precision = '{precision}'", "training.gradcache_chunk = 5")
    assert {row[:3] for row in seen} == {(True, mixed, where)}
    assert [row[3] for row in seen] == [2, 2, 4]  # 16 documents, 8 on each of two processes: a quarter and a half of them
    assert {row[4] for row in seen} == {5}
    assert "on each of 2 process(es)" in found["a batch"]


def test_several_gpus_need_torchrun(smoke_recipe: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers would use nn.DataParallel, which splits the batch inside the model."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    for start in (lambda: train(load_recipe(smoke_recipe), data_dir, tmp_path / "run"), lambda: report(smoke_recipe, data_dir)):
        with pytest.raises(ConfigError, match=r"4 GPUs.*torchrun --nproc-per-node 4.*CUDA_VISIBLE_DEVICES=0"):
            start()
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("LOCAL_RANK", "0")
    device.check_device(load_recipe(smoke_recipe).training)


def test_float16_without_a_gpu_is_refused(smoke_recipe: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="'float16', which needs a GPU"):
        train(load_recipe(smoke_recipe, ["training.precision = 'float16'"]), data_dir, tmp_path)


class Counting:
    """A source that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked, self.sizes, self.sha256 = 0, dict[str, Any](), ""

    def batch(self, step: int) -> Batch:
        self.asked += 1
        return collate([Example("q", (f"a{step % 7}", f"b{step % 5}"), (0, 1))], source="counting")


def test_passages_are_read_when_they_are_asked_for_and_once() -> None:
    batches = Counting()
    passages = SampledPassages("counting", batches)
    assert (list(passages), len(passages), batches.asked) == (["counting"], 1, 0)
    assert sorted(passages["counting"]) == sorted([f"a{n}" for n in range(7)] + [f"b{n}" for n in range(5)])
    assert [list(values) for values in passages.values()] == [passages["counting"]] and batches.asked == SAMPLED_STEPS
    with pytest.raises(KeyError):
        passages["other"]
