"""Whole runs on toy data: the loss falls, a killed and resumed run equals an unbroken one, two processes equal one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("ir_measures")
pytest.importorskip("bm25s")

from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.errors import ConfigError, TrainingError
from training.loop import checkpoints
from training.loop.run import train
from training.recipe.file import load_recipe
from training.runlog import read_log

ROOT = Path(__file__).resolve().parents[3]
TIMES = ("seconds", "memory_bytes")
KILLED_AT = (3, 9, 20)


@pytest.fixture(scope="module")
def unbroken(smoke_recipe: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    train(load_recipe(smoke_recipe), data_dir, out)
    return out


def rows(out: Path) -> list[dict[str, Any]]:
    """The log without times."""
    found = [json.loads(line) for line in (out / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in found:
        for split in row.get("splits", {}).values():
            split.pop("seconds")
        for name in TIMES:
            row.pop(name, None)
    return found


def assert_same_run(one: Path, two: Path) -> None:
    assert rows(one) == rows(two)
    for name in ("best.safetensors", "model/model.safetensors", "checkpoints/checkpoint-24/weights.safetensors"):
        first, second = load_file(one / name), load_file(two / name)
        assert first.keys() == second.keys()
        assert all(torch.equal(tensor, second[key]) for key, tensor in first.items()), name


def command(recipe: Path, data_dir: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "training", "train", str(recipe), "--data", str(data_dir), "--out", str(out), *more]


def test_a_run_reduces_the_loss_and_logs_every_step(unbroken: Path) -> None:
    log = read_log(unbroken)
    losses = log.steps.numbers["contrastive"]
    assert len(losses) == 24
    assert np.mean(losses[-6:]) < np.mean(losses[:6])
    assert [v.step for v in log.validations][:5] == [0, 6, 12, 18, 24]
    assert log.chosen is not None and log.chosen.mean > log.validations[0].mean
    for name in ("regularizer_query", "lambda_document", "terms_query", "empty_documents", "gradient_norm", "learning_rate", "tokens"):
        assert np.isfinite(log.steps.numbers[name]).all(), name


def test_lambda_and_learning_rate_follow_the_optimiser_step(unbroken: Path) -> None:
    numbers = read_log(unbroken).steps.numbers
    ramp = np.minimum(1.0, (np.arange(24) / 10) ** 2)
    np.testing.assert_allclose(numbers["lambda_document"], 0.001 * ramp)
    assert numbers["learning_rate"][0] == pytest.approx(0.001) and numbers["learning_rate"].max() == pytest.approx(0.002)


def test_every_term_is_in_the_loss_once(unbroken: Path) -> None:
    """naver's loop adds a sum of all regularisers once for each of them."""
    numbers = read_log(unbroken).steps.numbers
    total = numbers["contrastive"] + sum(numbers[f"lambda_{side}"] * numbers[f"regularizer_{side}"] for side in ("query", "document"))
    assert numbers["regularizer_query"].min() > 0 and numbers["regularizer_document"].min() > 0
    np.testing.assert_allclose(numbers["loss"], total, rtol=1e-5)


def test_schedules_count_optimiser_steps_whatever_the_accumulation(smoke_recipe: Path, data_dir: Path, tmp_path: Path) -> None:
    changes = ["training.accumulation = 3", "training.batch_queries = 4", "training.steps = 12"]
    train(load_recipe(smoke_recipe, changes), data_dir, tmp_path)
    numbers = read_log(tmp_path).steps.numbers
    np.testing.assert_allclose(numbers["lambda_document"], 0.001 * np.minimum(1.0, (np.arange(12) / 10) ** 2))
    np.testing.assert_allclose(numbers["learning_rate"], 0.002 * np.array([0.5, 1.0, *np.arange(10, 0, -1) / 10]))


def test_a_run_that_does_not_get_better_stops_early(smoke_recipe: Path, data_dir: Path, tmp_path: Path) -> None:
    train(load_recipe(smoke_recipe, ["optimizer.lr = 1e-12", "validation.patience = 2"]), data_dir, tmp_path)
    end = read_log(tmp_path).end
    assert end is not None and "no better checkpoint in 2 measurements" in end.reason
    assert (end.step, end.best_step) == (12, 0)


def test_the_same_recipe_twice_is_the_same_run(unbroken: Path, smoke_recipe: Path, data_dir: Path, tmp_path: Path) -> None:
    train(load_recipe(smoke_recipe), data_dir, tmp_path / "run")
    assert_same_run(unbroken, tmp_path / "run")


STOPPING = """
import os, signal, sys
from training.__main__ import main
from training.runlog import RunLog

append, steps = RunLog.append, sys.argv.pop(1).split(",")

def append_and_stop(log, row):
    append(log, row)
    if row["event"] == "step" and str(row["step"]) in steps:
        os.kill(os.getpid(), signal.SIGSTOP)

RunLog.append = append_and_stop
main()
"""


@pytest.fixture(scope="module")
def killed(smoke_recipe: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """What a run leaves that is killed after so many steps: one process stops there, is copied and let go again, and killed at the last."""
    folder = tmp_path_factory.mktemp("killed")
    out = folder / "running"
    stopping = [sys.executable, "-c", STOPPING, ",".join(map(str, KILLED_AT)), *command(smoke_recipe, data_dir, out)[3:]]
    process = subprocess.Popen(stopping, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        left = {step: _stopped(process, out, folder / str(step)) for step in KILLED_AT}
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    return left


def _stopped(process: subprocess.Popen[bytes], out: Path, copy: Path) -> Path:
    state = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED)
    assert state is not None and state.si_code == os.CLD_STOPPED, "the run ended early"
    shutil.copytree(out, copy)
    process.send_signal(signal.SIGCONT)
    return copy


@pytest.mark.parametrize("step", KILLED_AT)
def test_killed_and_resumed_equals_unbroken(unbroken: Path, killed: dict[int, Path], smoke_recipe: Path, data_dir: Path, step: int) -> None:
    """Dropout is on: random numbers must go on where they were."""
    out = killed[step]
    assert not (out / "model").exists()
    if step == KILLED_AT[-1]:
        subprocess.run(command(smoke_recipe, data_dir, out, "--resume"), cwd=ROOT, check=True, capture_output=True)
    else:
        train(load_recipe(smoke_recipe), data_dir, out, resume=True)
    assert_same_run(unbroken, out)


def test_two_processes_equal_one(smoke_recipe: Path, data_dir: Path, tmp_path: Path) -> None:
    """Negatives and FLOPS belong to the whole batch, whoever encodes it; without dropout, which differs by process."""
    still = ("model.dropout = 0.0", "training.steps = 12")
    train(load_recipe(smoke_recipe, list(still)), data_dir, tmp_path / "one")
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1", "--master-port=0", "--standalone"]
    sets = [part for change in still for part in ("--set", change)]
    two = [sys.executable, *torchrun, *command(smoke_recipe, data_dir, tmp_path / "two", *sets)[1:]]
    result = subprocess.run(two, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert result.returncode == 0, result.stderr[-2000:]
    first, second = (read_log(tmp_path / name).steps.numbers for name in ("one", "two"))
    for name in ("loss", "contrastive", "regularizer_document", "gradient_norm", "tokens", "terms_document"):
        np.testing.assert_allclose(first[name], second[name], rtol=2e-4, err_msg=name)
    one, other = (load_file(tmp_path / name / "best.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():  # Adam makes much of gradients that are little but rounding: a hundredth of what 12 steps can move
        torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=2e-4)


def test_gradcache_gives_the_same_run(smoke_recipe: Path, data_dir: Path, tmp_path: Path) -> None:
    found = []
    for name, change in (("whole", []), ("pieces", ["training.gradcache_chunk = 7"])):
        train(load_recipe(smoke_recipe, ["model.dropout = 0.0", "training.steps = 12", *change]), data_dir, tmp_path / name)
        found.append(read_log(tmp_path / name).steps.numbers)
    for name in ("loss", "gradient_norm"):
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=2e-4)


def test_the_saved_folder_is_the_measured_model(unbroken: Path, data_dir: Path) -> None:
    """The package's encoder gives the vectors whose quality is in the log."""
    encoder = SpladeEncoder.load(unbroken / "model", runtime="torch")
    texts = [json.loads(line)["text"] for line in (data_dir / "toy" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    held_out = read_log(unbroken).validations[-1].splits["toy:held-out"]
    lengths = [len(vector) for vector in encoder.encode_documents(texts[:40])]
    assert abs(np.mean(lengths) - held_out.terms_document) < 5


def test_a_run_is_not_overwritten_and_another_recipe_is_not_resumed(unbroken: Path, smoke_recipe: Path, data_dir: Path) -> None:
    with pytest.raises(ConfigError, match="--resume"):
        train(load_recipe(smoke_recipe), data_dir, unbroken)
    with pytest.raises(TrainingError, match="another recipe"):
        train(load_recipe(smoke_recipe, ["optimizer.lr = 0.1"]), data_dir, unbroken, resume=True)


@pytest.mark.parametrize("place", ["a file", "a file/run"])
def test_an_output_folder_that_cannot_be_made_is_refused_before_data_is_read(smoke_recipe: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(ConfigError, match=r"cannot be made .* another --out"):
        train(load_recipe(smoke_recipe), tmp_path / "no data here", tmp_path / place)


def test_a_collapsed_run_is_stopped_with_its_reason(smoke_recipe: Path, data_dir: Path, tmp_path: Path) -> None:
    heavy = ["validation.every = 4", "sparsity.document.weight = 1e4", "sparsity.document.ramp_steps = 0", "optimizer.lr = 0.1"]
    with pytest.raises(TrainingError, match=r"collapsed at step .* vectors .* are empty.*lower lambda"):
        train(load_recipe(smoke_recipe, heavy), data_dir, tmp_path)


def test_a_ceiling_that_no_checkpoint_keeps_is_an_error(smoke_recipe: Path, data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none keeps the ceilings"):
        train(load_recipe(smoke_recipe, ["validation.max_terms_document = 1.0", "training.steps = 6"]), data_dir, tmp_path)


def test_more_flops_fewer_terms(smoke_recipe: Path, data_dir: Path, tmp_path: Path) -> None:
    terms = []
    for weight in (0.001, 0.1, 1.0):
        changes = [f"sparsity.document.weight = {weight}", "training.steps = 40", "validation.every = 40", "optimizer.lr = 0.02"]
        train(load_recipe(smoke_recipe, changes), data_dir, tmp_path / str(weight))
        terms.append(read_log(tmp_path / str(weight)).steps.last("regularizer_document"))
    assert terms == sorted(terms, reverse=True)


def test_disk_full_while_saving_keeps_the_last_checkpoint(
    smoke_recipe: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.loop import trainer as trainer_module

    whole = trainer_module.save_model

    def failing(model: torch.nn.Module, filename: str) -> None:
        if "checkpoint-12" in filename:
            Path(filename).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        whole(model, filename)

    monkeypatch.setattr(trainer_module, "save_model", failing)
    with pytest.raises(TrainingError, match=r"No space left on device.*last good checkpoint is .*checkpoint-6.*--resume"):
        train(load_recipe(smoke_recipe), data_dir, tmp_path)
    monkeypatch.undo()
    found = checkpoints.last_complete(tmp_path / "checkpoints")
    assert found is not None and found.name == "checkpoint-6"
    train(load_recipe(smoke_recipe), data_dir, tmp_path, resume=True)
    assert read_log(tmp_path).end is not None


@pytest.mark.parametrize("regularizer", ["l0_flops", "df_flops"])
def test_every_regularizer_runs(smoke_recipe: Path, data_dir: Path, tmp_path: Path, regularizer: str) -> None:
    more = {"l0_flops": ["sparsity.document.threshold = 5"], "df_flops": ["sparsity.document.df_every = 4"]}[regularizer]
    train(load_recipe(smoke_recipe, [f"sparsity.document.regularizer = '{regularizer}'", *more]), data_dir, tmp_path)


def test_separate_queries_are_saved(smoke_recipe: Path, data_dir: Path, tmp_path: Path) -> None:
    out = train(load_recipe(smoke_recipe, ["queries.kind = 'separate'"]), data_dir, tmp_path)
    assert SpladeEncoder.load(out, runtime="torch").config.query.kind == "separate"


def test_the_controller_steers_lambda(smoke_recipe: Path, data_dir: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "steered.toml"
    section = '[sparsity.document]\nregularizer = "flops"\ntarget_terms = 20.0\ngain = 0.5\n'
    recipe.write_text(f'extends = "{smoke_recipe}"\ndrop = ["sparsity.document"]\n{section}', encoding="utf-8")
    train(load_recipe(recipe), data_dir, tmp_path / "run")
    lambdas = read_log(tmp_path / "run").steps.numbers["lambda_document"]
    assert (np.diff(lambdas) > 0).all()  # 45 terms at the start, and no step overshoots in so short a run


def test_a_learned_query_table_is_saved(smoke_recipe: Path, data_dir: Path, tmp_path: Path) -> None:
    out = train(load_recipe(smoke_recipe, ["queries.kind = 'table'"]), data_dir, tmp_path)
    assert len(SpladeEncoder.load(out, runtime="torch").encode_query("qual imposto?")) > 0


def test_distillation_from_bm25_runs(smoke_recipe: Path, data_dir: Path, tmp_path: Path) -> None:
    changes = ["ranking = {losses = {kl = 1.0, margin_mse = 0.05}, bm25_teacher = true}"]
    train(load_recipe(smoke_recipe, changes), data_dir, tmp_path)
    assert np.isfinite(read_log(tmp_path).steps.numbers["kl"]).all()
