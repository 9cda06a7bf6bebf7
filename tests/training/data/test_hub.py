"""Datasets by columns, from local folders of JSONL, of parquet and as `datasets` saves them; no network."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splade_ptbr_connectors.errors import ConfigError, InputFileError
from tests.training.data.support import same_batch, travelled
from training.data.hub import HubBatches
from training.data.open import open_batches
from training.recipe.sections import HubData

datasets = pytest.importorskip("datasets")
Row = dict[str, Any]
ROWS: list[Row] = [{"query": f"pergunta {n % 5}", "positive": f"certo {n}", "negative": f"errado {n}"} for n in range(12)]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))


def as_jsonl(folder: Path, rows: list[Row]) -> None:
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def as_parquet(folder: Path, rows: list[Row]) -> None:
    datasets.Dataset.from_list(rows).to_parquet(str(folder / "train-00000-of-00001.parquet"))


def as_saved(folder: Path, rows: list[Row]) -> None:
    datasets.Dataset.from_list(rows).save_to_disk(str(folder))


def as_saved_splits(folder: Path, rows: list[Row]) -> None:
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(str(folder))


def opened(
    folder: Path, rows: list[Row], *, write: Callable[[Path, list[Row]], None] = as_jsonl, batch: int = 1, **section: Any
) -> HubBatches:
    (folder / "dados").mkdir(exist_ok=True)
    write(folder / "dados", rows)
    return HubBatches(HubData(dataset="dados", **section), folder, folder / "cache", batch_queries=batch, seed=0)


@pytest.mark.parametrize("write", [as_jsonl, as_parquet, as_saved, as_saved_splits])
def test_an_epoch_is_every_row_whatever_the_form_of_the_folder(tmp_path: Path, write: Callable[[Path, list[Row]], None]) -> None:
    source = opened(tmp_path, ROWS, write=write, batch=4)
    seen = []
    for step in range(3):
        batch = source.batch(step)
        for row, query in enumerate(batch.queries):
            right = {entry["positive"] for entry in ROWS if entry["query"] == query}
            assert batch.relevant[row].tolist() == [text in right for text in batch.documents]
            negative = batch.documents[int(np.flatnonzero(batch.own[row])[0])]
            seen.append((query, batch.documents[batch.positive[row]], negative))
    assert sorted(seen) == sorted((row["query"], row["positive"], row["negative"]) for row in ROWS)


def test_a_resumed_run_gets_bit_identical_batches_from_any_process(tmp_path: Path) -> None:
    used = opened(tmp_path, ROWS, batch=5)
    batches = [used.batch(step) for step in range(8)]
    fresh, carried = opened(tmp_path, ROWS, batch=5), travelled(used)
    assert all(same_batch(source.batch(step), batches[step]) for source in (fresh, carried) for step in (7, 0, 3))
    dispatched = open_batches(HubData(dataset="dados"), tmp_path, tmp_path / "cache", batch_queries=5, seed=0)
    assert same_batch(dispatched.batch(2), batches[2])


def test_the_identity_is_the_content_and_not_the_form_or_the_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = opened(tmp_path / "a", ROWS), opened(tmp_path / "b", ROWS, write=as_parquet)
    assert one.sha256 == other.sha256 != opened(tmp_path / "b", ROWS[::-1], write=as_parquet).sha256


def test_lists_columns_and_scores_are_put_together(tmp_path: Path) -> None:
    rows = [{"q": "a", "p": "certo", "many": ["um", "dois", "um"], "one": "três", "t": [9, 1, 2, 1, 3]}]
    columns = {"query": "q", "positive": "p", "negatives": ("many", "one"), "scores": "t"}
    source = opened(tmp_path, rows, **columns)
    batch = source.batch(0)
    assert batch.documents == ["certo", "um", "dois", "três"] and batch.teacher is not None
    assert batch.teacher.tolist() == [[9.0, 1.0, 2.0, 3.0]]
    assert source.sizes["left_out_repeated_negative"] == 1 and source.sizes["scored"]


def test_without_negative_columns_there_are_in_batch_negatives_only(tmp_path: Path) -> None:
    batch = opened(tmp_path, ROWS, negatives=(), batch=12).batch(0)
    assert len(batch.documents) == 12 and not batch.own.any()


def test_rows_whose_negative_is_a_positive_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [*ROWS, {"query": "pergunta 1", "positive": "certo 1", "negative": "certo 6"}]
    sizes = opened(tmp_path, rows).sizes
    assert sizes["rows"] == 12 and sizes["left_out_rows"] == 1 and sizes["left_out_negative_is_positive"] == 1
    with pytest.raises(InputFileError, match="no row is left"):
        opened(tmp_path, [{"query": "a", "positive": "b", "negative": "b"}])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"query": "", "positive": "b", "negatives": ["c"], "scores": [1, 2]}, "the query is empty"),
        ({"query": "a", "positive": None, "negatives": ["c"], "scores": [1, 2]}, "column 'positive' is NoneType"),
        ({"query": "a", "positive": "b", "negatives": [], "scores": [1]}, "no negative in 'negatives'"),
        ({"query": "a", "positive": "b", "negatives": ["c"], "scores": [1]}, "1 scores for 2 documents"),
        ({"query": "a", "positive": "b", "negatives": ["c"], "scores": [1, None]}, "document 1 has no score"),
        ({"query": "a", "positive": "b", "negatives": ["c"], "scores": None}, "column 'scores' is NoneType"),
        ({"query": "a", "positive": "b", "negatives": [None], "scores": [1, 2]}, "column 'negatives' is NoneType"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: Row, why: str) -> None:
    good = {"query": "a", "positive": "b", "negatives": ["c"], "scores": [1, 0]}
    with pytest.raises(InputFileError, match=rf"dados \(train\), row 1 counted from 0: .*{why}"):
        opened(tmp_path, [good, row, good], negatives=("negatives",), scores="scores")


def test_columns_and_splits_that_are_not_there_are_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no column 'pergunta', 'neg'; it has query, positive, negative"):
        opened(tmp_path, ROWS, query="pergunta", negatives=("neg",))
    with pytest.raises(ConfigError, match=r"dados cannot be loaded \(subset None, split dev\).*dev"):
        opened(tmp_path, ROWS, split="dev")


@pytest.mark.parametrize("write", [as_saved, as_saved_splits])
def test_a_saved_folder_has_the_splits_it_has_and_no_subsets(tmp_path: Path, write: Callable[[Path, list[Row]], None]) -> None:
    with pytest.raises(ConfigError, match="no split 'dev'; it has train"):
        opened(tmp_path, ROWS, write=write, split="dev")
    with pytest.raises(ConfigError, match=r"data\.subset has no effect"):
        opened(tmp_path, ROWS, write=write, subset="pt")


def test_a_dataset_that_is_not_there_is_an_error_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nobody/nothing cannot be loaded"):
        HubBatches(HubData(dataset="nobody/nothing"), tmp_path, tmp_path / "cache", batch_queries=1, seed=0)


def test_a_missing_library_is_named_with_its_dependency_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match="`datasets`: install the dependency group `train`"):
        HubBatches(HubData(dataset="dados"), tmp_path, tmp_path / "cache", batch_queries=1, seed=0)
