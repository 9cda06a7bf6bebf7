"""TensorBoard by the Trainer's own integration, where TENSORBOARD_LOGGING_DIR names a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("tensorboard")
pytest.importorskip("ir_measures")

from training.loop.run import train
from training.recipe.file import load_recipe


def test_the_numbers_of_the_log_are_there(smoke_recipe: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events, out = tmp_path / "events", tmp_path / "run"
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(events))
    train(load_recipe(smoke_recipe, ["training.steps = 3", "validation.every = 3"]), data_dir, out)
    [folder] = {file.parent for file in events.rglob("events.out.tfevents.*")}
    shown = EventAccumulator(str(folder)).Reload()
    rows = [row for line in (out / "training.jsonl").read_text().splitlines() if (row := json.loads(line))["event"] == "step"]
    assert [event.value for event in shown.Scalars("train/loss")] == [pytest.approx(sum(row["loss"] for row in rows) / 3)]
    for name in ("terms_query", "terms_document", "lambda_document", "regularizer_document", "max_activation"):
        assert [(event.step, event.value) for event in shown.Scalars(f"train/{name}")] == [(3, pytest.approx(rows[-1][name]))]
