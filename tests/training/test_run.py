"""Whole runs on toy data: the loss falls, a resumed run equals an unbroken one, the packed folder is the trained model."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("ir_measures")
pytest.importorskip("bm25s")

from training.config import Recipe, load_recipe
from training.data import BatchPlan, TrainingData, load_training_data, read_collection, split_train
from training.loop import LOG, Trainer
from training.model import TableEncoder, build_model


@pytest.fixture(scope="module")
def recipe(smoke_recipe: Path) -> Recipe:
    return load_recipe(smoke_recipe)


@pytest.fixture(scope="module")
def data(recipe: Recipe, data_dir: Path) -> TrainingData:
    return load_training_data(recipe.data, data_dir, seed=recipe.seed)


@pytest.fixture
def model(recipe: Recipe, data: TrainingData, data_dir: Path) -> TableEncoder:
    return build_model(recipe, data, data_dir)


def losses(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / LOG).read_text(encoding="utf-8").splitlines()]
    return [row["ranking"] for row in rows if "step" in row]


def test_held_out_passages_are_not_trained_on(data_dir: Path) -> None:
    training, held_out = split_train(read_collection(data_dir / "toy"), 0.25)
    assert len(held_out) == 10 and len(training) == 30
    used = {passage for judged in training.values() for passage in judged}
    assert not used & {passage for judged in held_out.values() for passage in judged}


def test_batches_depend_on_seed_and_step_alone(recipe: Recipe, data: TrainingData) -> None:
    def batch(seed: int, step: int) -> list[list[int]]:
        plan = BatchPlan(data.sources, recipe.data.mixture, steps=30, seed=seed)
        return [row.tolist() for row in plan.batch(step, queries=4, documents=8, teacher=False).queries]

    assert batch(1, 7) == batch(1, 7)
    assert batch(1, 7) != batch(2, 7)
    assert batch(1, 7) != batch(1, 8)


def test_positives_are_marked(recipe: Recipe, data: TrainingData) -> None:
    batch = BatchPlan(data.sources, recipe.data.mixture, steps=3, seed=0).batch(1, queries=4, documents=8, teacher=True)
    assert batch.relevant.shape == (4, 8)
    assert batch.relevant[np.arange(4), batch.positive].all()
    assert batch.teacher is not None and (batch.teacher[np.arange(4), batch.positive] > 0).all()


def test_the_start_is_lexical(model: TableEncoder, data: TrainingData) -> None:
    """Without its transformer the model is BM25; stop words and punctuation have no weight on either side."""
    stop = [data.vocabulary.index(token) for token in ("de", "que", "?", ".", "[CLS]")]
    model.splade.contextual = False
    documents = model.documents(data.sources["toy"].documents[:4])
    assert (documents[:, stop] == 0).all() and (documents.sum(1) > 0).all()
    assert (model.query_weights()[stop] == 0).all()


def test_smoke_run_reduces_the_loss(model: TableEncoder, recipe: Recipe, data: TrainingData, tmp_path: Path) -> None:
    progress = Trainer(model, recipe, data, tmp_path).run()
    found = losses(tmp_path)
    assert len(found) == 24
    assert np.mean(found[8:12]) < np.mean(found[:4])
    assert progress.best > 0.5


def test_resumed_run_equals_the_unbroken_one(recipe: Recipe, data: TrainingData, data_dir: Path, tmp_path: Path) -> None:
    unbroken = build_model(recipe, data, data_dir)
    Trainer(unbroken, recipe, data, tmp_path / "one").run()
    for stop_after in (7, 9, None):
        resumed = build_model(recipe, data, data_dir)
        trainer = Trainer(resumed, recipe, data, tmp_path / "two")
        assert trainer.resume() == (stop_after != 7)
        trainer.run(stop_after=stop_after)
    assert losses(tmp_path / "one") == losses(tmp_path / "two")
    for name, tensor in unbroken.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_checkpoint_of_another_recipe_is_refused(recipe: Recipe, data: TrainingData, model: TableEncoder, tmp_path: Path) -> None:
    from splade_ptbr_connectors.errors import ConfigError

    Trainer(model, recipe, data, tmp_path).save_checkpoint()
    other = dataclasses.replace(recipe, seed=recipe.seed + 1)
    with pytest.raises(ConfigError, match="another recipe"):
        Trainer(model, other, data, tmp_path).resume()


def test_more_flops_fewer_terms(recipe: Recipe, data: TrainingData, data_dir: Path, tmp_path: Path) -> None:
    terms = []
    for strength in (0.0, 3.0):
        stage = dataclasses.replace(recipe.stages[1], steps=25, lambda_document=strength, ramp_steps=0, lr_lexical=0.05)
        trained = build_model(recipe, data, data_dir)
        Trainer(trained, dataclasses.replace(recipe, stages=(stage,)), data, tmp_path / str(strength)).run()
        rows = [json.loads(line) for line in (tmp_path / str(strength) / LOG).read_text(encoding="utf-8").splitlines()]
        terms.append([row["flops_document"] for row in rows if "step" in row][-1])
    assert terms[1] < terms[0]


def test_packed_folder_is_the_trained_model(data_dir: Path, smoke_recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from training.__main__ import train_recipe
    from training.card import split_table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = train_recipe(load_recipe(smoke_recipe), data_dir, tmp_path / "run")
    names = {path.name for path in folder.iterdir()}
    assert names >= {"splade.json", "tokenizer.json", "model.onnx", "model.safetensors", "lexical.safetensors", "query_weights.safetensors"}
    rows = split_table(folder, data_dir, split="test", bm25=True)
    assert rows[0]["split"] == "toy:test" and 0.5 < rows[0]["ndcg10"] <= 1.0
    rows_again = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text(encoding="utf-8").splitlines()]
    assert rows_again[-1]["evaluation"] == "packed"
