"""The log of a run: what is written is read back, a resumed log equals an unbroken one, what is not a log is named with its line."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import InputFileError, TrainingError
from tests.training import run_logs
from training.runlog import RunLog, read_log

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def written(path: Path, made: list[dict[str, Any]]) -> Path:
    with RunLog(path) as log:
        for row in made:
            log.append(row)
    return path


# -- writing ----------------------------------------------------------------------------------------------------------


@given(extra=st.dictionaries(st.text(min_size=1).filter(lambda name: name not in ("event", "step")), JSON_VALUES, max_size=5))
def test_what_is_appended_is_in_the_file(tmp_path_factory: pytest.TempPathFactory, extra: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("log") / "training.jsonl"
    row = {"event": "step", "step": 1} | extra
    assert lines(written(path, [row])) == [json.loads(json.dumps(row))]


def test_a_row_is_in_the_file_before_the_log_is_closed(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "new" / "training.jsonl")
    log.append({"event": "step", "step": 1})
    assert lines(tmp_path / "new" / "training.jsonl") == [{"event": "step", "step": 1}]
    log.close()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf")])
def test_what_is_not_finite_becomes_null_everywhere_and_nan_when_read(tmp_path: Path, value: float) -> None:
    made = [run_logs.start_row(), run_logs.step_row(1, loss=value, nested={"list": [value, 1.0]})]
    path = written(tmp_path / "training.jsonl", made)
    assert lines(path)[1]["loss"] is None and lines(path)[1]["nested"] == {"list": [None, 1.0]}
    assert math.isnan(read_log(path).steps.numbers["loss"][0])


def test_numpy_numbers_are_written_as_plain_ones(tmp_path: Path) -> None:
    row = {"event": "step", "step": 1, "loss": np.float32(0.5), "tokens": np.int64(7), "flag": np.bool_(True)}
    assert lines(written(tmp_path / "x.jsonl", [row])) == [{"event": "step", "step": 1, "loss": 0.5, "tokens": 7, "flag": True}]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"event": "steps", "step": 1}, "event 'steps'"),
        ({"step": 1}, "event None"),
        ({"event": "step"}, "step None"),
        ({"event": "step", "step": -1}, "step -1"),
        ({"event": "step", "step": 1.5}, "step 1.5"),
        ({"event": "validation", "step": True}, "step True"),
        ({"event": "step", "step": 1, "loss": object()}, "JSON does not"),
    ],
)
def test_what_no_log_holds_is_refused_and_leaves_no_trace(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    path = tmp_path / "training.jsonl"
    with RunLog(path) as log, pytest.raises(TrainingError, match=said):
        log.append(row)
    assert path.read_bytes() == b""


def test_a_second_run_does_not_go_into_the_log_of_the_first(tmp_path: Path) -> None:
    path = written(tmp_path / "training.jsonl", run_logs.rows())
    before = path.read_bytes()
    with RunLog(path) as log, pytest.raises(TrainingError, match="resume it, delete it"):
        log.append(run_logs.start_row("other"))
    assert path.read_bytes() == before


# -- resuming ---------------------------------------------------------------------------------------------------------


@given(cut=st.integers(0, 10**6), checkpoint=st.sampled_from([4, 8, 12]))
def test_a_resumed_log_equals_the_unbroken_one_wherever_the_process_was_killed(
    tmp_path_factory: pytest.TempPathFactory, cut: int, checkpoint: int
) -> None:
    made = run_logs.rows()
    path = written(tmp_path_factory.mktemp("log") / "training.jsonl", made)
    unbroken = path.read_bytes()
    index = next(i for i, row in enumerate(made) if row["event"] == "validation" and row["step"] == checkpoint)
    saved = sum(len(line) for line in unbroken.splitlines(keepends=True)[: index + 1])
    path.write_bytes(unbroken[: saved + cut % (len(unbroken) - saved + 1)])  # killed at some byte after the checkpoint
    with RunLog(path) as log:
        log.truncate_after(checkpoint)
        assert path.read_bytes() == unbroken[:saved]
        for row in made[index + 1 :]:
            log.append(row)
    assert path.read_bytes() == unbroken
    assert [file.name for file in path.parent.iterdir()] == ["training.jsonl"]


def test_the_rows_of_the_end_are_written_anew_when_a_run_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / "training.jsonl", run_logs.rows(steps=12))
    with RunLog(path) as log:
        log.truncate_after(12)
    events = [(row["event"], row.get("packed", False)) for row in lines(path)]
    assert ("end", False) not in events and ("validation", True) not in events
    assert lines(path)[-1]["step"] == 12


def test_a_torn_last_line_is_dropped_before_rows_are_added(tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    path.write_bytes(b'{"event": "step", "step": 1}\n{"event": "step", "st')
    written(path, [{"event": "step", "step": 2}])
    assert [row["step"] for row in lines(path)] == [1, 2]


def test_a_whole_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    path.write_bytes(b'{"event": "step", "step": 1}')
    written(path, [{"event": "step", "step": 2}])
    assert [row["step"] for row in lines(path)] == [1, 2]


def test_a_log_that_is_broken_in_the_middle_is_not_truncated(tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    path.write_bytes(b'{"event": "step", "step": 1}\ngarbage\n{"event": "step", "step": 2}\n')
    before = path.read_bytes()
    with RunLog(path) as log, pytest.raises(InputFileError, match="line 2"):
        log.truncate_after(1)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["training.jsonl"]


# -- reading ----------------------------------------------------------------------------------------------------------


def test_everything_written_is_read(tmp_path: Path) -> None:
    log = read_log(run_logs.write(tmp_path, run_logs.rows()))
    assert log.start.name == "teste" and log.start.machine["cores"] == 2
    assert log.steps.step.tolist() == list(range(1, 13))
    assert log.steps.numbers["loss"].tolist() == [run_logs.step_row(step)["loss"] for step in range(1, 13)]
    assert log.steps.values["source"] == ["faquad"] * 12
    assert [validation.step for validation in log.validations] == [0, 4, 8, 12]
    assert log.validations[0].reason and not log.validations[0].eligible
    assert log.validations[1].splits["faquad:dev"].hot_terms[1] == ("##ção", 0.61)
    assert log.packed is not None and log.packed.mean == 0.62
    assert log.end is not None and log.end.best_step == 8
    assert log.chosen is not None and log.chosen.step == 8
    assert log.steps_done == 12 and log.seconds == pytest.approx(12 * 0.5 + 5 * 2.0)


def test_a_folder_stands_for_its_log(tmp_path: Path) -> None:
    file = run_logs.write(tmp_path, run_logs.rows())
    assert read_log(tmp_path).path == read_log(file).path


def test_without_an_end_the_last_best_checkpoint_is_the_chosen_one(tmp_path: Path) -> None:
    made = [row for row in run_logs.rows() if row["event"] != "end" and not row.get("packed")]
    log = read_log(run_logs.write(tmp_path, made))
    assert log.end is None and log.packed is None and log.chosen is not None and log.chosen.step == 8


def test_unknown_keys_are_kept(tmp_path: Path) -> None:
    made = run_logs.rows()
    made[0]["command"] = "python -m training train x"
    made[2]["new_number"] = 3.0
    made[3]["new_text"] = "a"
    log = read_log(run_logs.write(tmp_path, made))
    assert log.start.extra == {"command": "python -m training train x"}
    column = log.steps.numbers["new_number"]
    assert column[0] == 3.0 and np.isnan(column[1:]).all() and len(column) == len(log.steps)
    assert log.steps.values["new_text"][1] == "a" and log.steps.values["new_text"][0] is None
    assert log.validations[1].splits["faquad:dev"].extra["measures"] == {"nDCG@10": pytest.approx(0.5667, abs=1e-3)}


def test_gaps_and_means(tmp_path: Path) -> None:
    made = [run_logs.start_row(), run_logs.step_row(1, loss=None), run_logs.step_row(2), run_logs.step_row(3, loss=None)]
    log = read_log(run_logs.write(tmp_path, made))
    assert log.steps.last("loss") == run_logs.step_row(2)["loss"] == log.steps.total("loss")
    assert log.steps.last("nothing") is None and log.steps.total("nothing") == 0
    validation = read_log(run_logs.write(tmp_path, run_logs.rows())).validations[1]
    assert validation.mean_of("terms_document") == validation.largest_of("terms_document") == 176.0
    assert validation.mean_of("quality") == pytest.approx(validation.mean)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    file = run_logs.write(tmp_path, run_logs.rows()[:5])
    expected = read_log(file).steps.step.tolist()
    file.write_bytes(file.read_bytes() + b'{"event": "step", "step": 99, "lo\xc3')
    assert read_log(file).steps.step.tolist() == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("garbage", "not a row of a run's log: 'garbage"),
        ("[1]", "not a row"),
        ("", "not a row"),
        ('{"event": "evaluation"}', "not a row"),
        ('{"ndcg10": 0.5}', "not a row"),
        ('{"event": "step", "step": 2}', "step 2 after step 2"),
        ('{"event": "step", "step": "x"}', "cannot be read"),
        ('{"event": "step"}', "cannot be read"),
        ('{"event": "start", "recipe": {}}', "a second start row"),
        ('{"event": "validation", "step": 2, "metric": "m", "mean": 1, "splits": []}', "cannot be read"),
        ('{"event": "validation", "step": 2, "metric": "m", "mean": 1, "splits": {"a": {"terms_query": 1}}}', "cannot be read"),
        ('{"event": "validation", "step": 2, "metric": "m", "mean": "high", "splits": {}}', "cannot be read"),
        ('{"event": "end"}', "cannot be read"),
    ],
)
def test_what_no_run_writes_is_named_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    file = run_logs.write(tmp_path, [run_logs.start_row(), run_logs.step_row(1), run_logs.step_row(2)])
    file.write_text(file.read_text(encoding="utf-8") + line + "\n" + json.dumps(run_logs.step_row(3)) + "\n", encoding="utf-8")
    with pytest.raises(InputFileError, match=rf"training\.jsonl, line 4: .*{said}"):
        read_log(file)


def test_a_validation_of_an_earlier_step_is_refused(tmp_path: Path) -> None:
    made = [run_logs.start_row(), run_logs.validation_row(8, 0.5), run_logs.validation_row(4, 0.5)]
    with pytest.raises(InputFileError, match="line 3: a validation of step 4 after one of step 8"):
        read_log(run_logs.write(tmp_path, made))


@pytest.mark.parametrize("content", [b"", b'{"event": "start"'])
def test_an_empty_log_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "training.jsonl").write_bytes(content)
    with pytest.raises(InputFileError, match="is empty"):
        read_log(tmp_path)


def test_a_log_without_its_start_or_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="line 1: the event 'step' before any start row"):
        read_log(run_logs.write(tmp_path, [run_logs.step_row(1)]))
    with pytest.raises(InputFileError, match="no such file"):
        read_log(tmp_path / "nowhere")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(InputFileError, match="line 1"):
        read_log(tmp_path / "binary")


def test_a_long_log_is_read_in_seconds(tmp_path: Path) -> None:
    """30,000 steps here, a fifth of the longest recipe; generous for a busy machine."""
    made = [run_logs.start_row(), *(run_logs.step_row(step) for step in range(1, 30_001))]
    file = run_logs.write(tmp_path, made)
    began = time.process_time()
    assert len(read_log(file).steps) == 30_000
    assert time.process_time() - began < 5
