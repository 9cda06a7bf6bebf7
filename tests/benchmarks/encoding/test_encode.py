"""`benchmarks encode`: its yardstick gives the vectors of the model, its figures are what they say, bad input is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks.encoding import encode as command
from benchmarks.encoding.checkpoints import Checkpoint, sentence_transformers_folder
from benchmarks.encoding.encode import Device, make_runners, measure_case
from benchmarks.encoding.report import Case, Likeness, compare_vectors, means, ndcg, show
from benchmarks.encoding.runners import Measured, Runner, Step, _batch_of_tensor, _sentence_transformers, best_batch, measure_runner
from benchmarks.encoding.texts import DOCUMENTS, FIXED, QUERIES, WORDS_OF_FIXED, Texts, read_collection, with_fixed
from benchmarks.workloads.workload import write_vectors
from splade_ptbr_connectors import SparseVector, SpladeEncoder
from splade_ptbr_connectors.errors import InputFileError
from splade_ptbr_connectors.vectors import SparseBatch

V = 12
rows = st.lists(st.dictionaries(st.integers(0, V - 1), st.floats(0.125, 4.0, width=32), max_size=V), min_size=1, max_size=6)
TEXTS = ["Qual é o prazo da declaração?", "São Paulo  e o\nrio", "Declarac\u0327a\u0303o do IMPOSTO de renda, com vacina e café. " * 9]


def batch(many: list[dict[int, float]]) -> SparseBatch:
    return SparseBatch.from_vectors(SparseVector.from_dict(row) for row in many)


def dense(many: list[dict[int, float]]) -> np.ndarray:
    return np.array([[row.get(term, 0.0) for term in range(V)] for row in many])


class TestCompareVectors:
    @given(first=rows, second=rows, left_out=st.sets(st.integers(0, V - 1), max_size=3))
    def test_against_dense_arithmetic(self, first: list, second: list, left_out: set[int]) -> None:
        count = min(len(first), len(second))
        first, second = first[:count], second[:count]
        found = compare_vectors(batch(first), batch(second), V, tuple(left_out))
        a, b = dense(first), dense(second)
        a[:, list(left_out)] = b[:, list(left_out)] = 0
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosines = [1.0 if not (x.any() or y.any()) else x @ y / n if n else 0.0 for x, y, n in zip(a, b, norms, strict=True)]
        assert found.largest_difference == pytest.approx(np.abs(a - b).max())
        assert found.equal_term_sets == pytest.approx(np.mean([((x > 0) == (y > 0)).all() for x, y in zip(a, b, strict=True)]))
        assert (found.cosine_mean, found.cosine_min) == pytest.approx((np.mean(cosines), np.min(cosines)))

    def test_the_same_vectors(self) -> None:
        same = batch([{1: 0.5}, {}, {3: 1.0, 4: 2.0}])
        assert compare_vectors(same, same, V, ()) == Likeness(0.0, 1.0, pytest.approx(1.0), pytest.approx(1.0))


class TestNdcg:
    TEXTS = Texts("t", {}, ["a", "b", "c"], ["q"], {"q": {"b": 1}})

    @pytest.mark.parametrize(("query", "expected"), [({1: 1.0}, 1.0), ({0: 1.0, 1: 0.5}, 1 / np.log2(3)), ({5: 1.0}, 0.0)])
    def test_the_rank_of_the_one_relevant_document(self, query: dict, expected: float) -> None:
        documents = batch([{0: 1.0}, {1: 1.0}, {2: 1.0}])
        assert ndcg(batch([query]), documents, V, (), self.TEXTS) == pytest.approx(expected)

    def test_terms_that_are_left_out_do_not_rank(self) -> None:
        documents = batch([{0: 9.0}, {1: 1.0}, {2: 1.0}])
        assert ndcg(batch([{0: 1.0, 1: 1.0}]), documents, V, (0,), self.TEXTS) == 1.0


@given(many=rows)
def test_a_tensor_becomes_the_same_vectors(many: list) -> None:
    import torch

    assert list(_batch_of_tensor(torch.tensor(dense(many), dtype=torch.float32).to_sparse())) == list(batch(many))


class TestTexts:
    def test_the_sample(self) -> None:
        texts = read_collection(command.SAMPLE, "test")
        assert (len(texts.steps[QUERIES]), len(texts.steps[DOCUMENTS])) == (len(texts.query_ids), len(texts.doc_ids)) == (72, 240)
        assert set(texts.qrels) == set(texts.query_ids)

    @given(count=st.integers(1, 50))
    def test_fixed_texts_are_long_and_all_different(self, count: int) -> None:
        steps = with_fixed(read_collection(command.SAMPLE, "test"), count).steps
        assert list(steps) == [QUERIES, DOCUMENTS, FIXED]
        assert {len(text.split()) for text in steps[FIXED]} == {WORDS_OF_FIXED}
        assert len(set(steps[FIXED])) == len(steps[DOCUMENTS]) == count

    def test_bad_folders(self, tmp_path: Path) -> None:
        with pytest.raises(InputFileError, match=r"corpus\.jsonl"):
            read_collection(tmp_path, "test")
        (tmp_path / "qrels").mkdir()
        (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "um"}\n', encoding="utf-8")
        (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "um"}\n', encoding="utf-8")
        (tmp_path / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nother\ta\t1\n", encoding="utf-8")
        with pytest.raises(InputFileError, match="'other' is judged and has no text"):
            read_collection(tmp_path, "test")
        with pytest.raises(InputFileError, match="dev"):
            read_collection(tmp_path, "dev")
        with open(tmp_path / "corpus.jsonl", "a", encoding="utf-8") as file:
            file.write("{broken\n")
        with pytest.raises(InputFileError, match="line 2"):
            read_collection(tmp_path, "test")


class TestSides:
    def test_sentence_transformers_with_our_modules_gives_the_vectors_of_mini(self, tmp_path: Path) -> None:
        folder = sentence_transformers_folder("mini-bert", tmp_path)
        queries, documents, to_batch = _sentence_transformers(Runner("st", "sentence-transformers", str(folder), channel="mini-bert"))
        ours = SpladeEncoder.load("mini-bert", on_long="truncate")
        for theirs, own in ((queries, ours.encode_queries), (documents, ours.encode_documents)):
            like = compare_vectors(to_batch(theirs(TEXTS)), SparseBatch.from_vectors(own(TEXTS)), ours.vocab_size, ())
            assert like.largest_difference <= 1e-5
            assert like.equal_term_sets == 1.0

    def test_a_fresh_process_measures_and_leaves_its_vectors(self, tmp_path: Path) -> None:
        (tmp_path / "texts.json").write_text(json.dumps({QUERIES: TEXTS[:2], DOCUMENTS: TEXTS}), encoding="utf-8")
        found = measure_runner(Runner("onnx", "ours", "mini-bert", "onnx"), tmp_path / "texts.json", tmp_path / "vectors")
        assert list(found.steps) == [QUERIES, DOCUMENTS]
        assert 0 < found.before_bytes < found.steps[QUERIES].peak_bytes <= found.steps[DOCUMENTS].peak_bytes
        assert min(min(step.rate, step.rate_of_core) for step in found.steps.values()) > 0
        read = command.read_vectors(tmp_path / "vectors" / DOCUMENTS)
        expected = SparseBatch.from_vectors(SpladeEncoder.load("mini-bert").encode_documents(TEXTS))
        assert compare_vectors(read, expected, 29_794, ()).largest_difference <= 1e-5

    def test_a_side_that_fails_says_why(self, tmp_path: Path) -> None:
        (tmp_path / "texts.json").write_text("{}", encoding="utf-8")
        with pytest.raises(RuntimeError, match=r"(?s)'broken' failed.*no model 'no such/model here'"):
            measure_runner(Runner("broken", "ours", "no such/model here"), tmp_path / "texts.json")

    @pytest.mark.gpu
    def test_half_precision_on_a_gpu(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        (tmp_path / "texts.json").write_text(json.dumps({QUERIES: TEXTS[:2], DOCUMENTS: TEXTS}), encoding="utf-8")
        runner = Runner("torch bfloat16", "ours", "mini-bert", "torch", "cuda", "bfloat16")
        assert measure_runner(runner, tmp_path / "texts.json").steps[DOCUMENTS].peak_bytes > 0


def case(rates: dict[str, float], peaks: dict[str, int], differences: dict[str, float], quality: dict[str, float]) -> Case:
    """A Case of one round with the step of documents alone; the first two runners are sentence-transformers."""
    found = {name: [Measured(1, 0.1, {DOCUMENTS: Step(rates[name], rates[name], peaks[name])})] for name in rates}
    likeness = {name: {DOCUMENTS: Likeness(differences[name], 1.0, 1.0, 1.0)} for name in rates}
    baseline, tuned, *_ = rates
    return Case("mini-bert", "c", {DOCUMENTS: 3}, {DOCUMENTS: [1.0]}, baseline, tuned, found, likeness, quality)


class TestGoals:
    NAMES = ("st", "st best", "exact", "int8")

    def make(self, loss: float | None) -> Case:
        each = {name: dict(zip(self.NAMES, values, strict=True)) for name, values in VALUES.items()}
        quality = {} if loss is None else dict(zip(self.NAMES, (0.7, 0.7, 0.7, 0.7 - loss), strict=True))
        return case(each["rates"], each["peaks"], each["differences"], quality)

    @pytest.mark.parametrize(
        ("loss", "first"), [(0.0019, ("int8", 3.0, "ok")), (0.0021, ("exact", 1.5, "missed")), (None, ("int8", 3.0, ""))]
    )
    def test_rounding_counts_only_while_the_loss_holds(self, loss: float | None, first: tuple[str, float, str]) -> None:
        lines = self.make(loss).comparisons()
        assert (lines[0].subject, lines[0].ratio, lines[0].verdict) == first
        assert [line.subject for line in (lines[1], lines[3])] == ["exact", "exact"]
        assert (lines[2].ratio, lines[2].subject, lines[2].baseline, lines[2].verdict) == (4.0, "st", "exact", "ok")

    def test_the_exact_side_with_the_least_memory_has_to_be_fast_as_well(self) -> None:
        rates, peaks = {"st": 10.0, "best": 10.0, "large": 50.0, "small": 9.0}, {"st": 900, "best": 900, "large": 800, "small": 300}
        lines = case(rates, peaks, dict.fromkeys(rates, 0.0), {}).comparisons()
        assert [(line.subject, line.verdict) for line in lines[:2]] == [("large", ""), ("small", "missed")]
        assert (lines[2].baseline, lines[2].ratio, lines[2].verdict) == ("small", 3.0, "ok")

    def test_goals_do_not_vanish_where_nothing_is_exact(self, capsys: pytest.CaptureFixture[str]) -> None:
        rates = {"st": 10.0, "best": 10.0, "half": 50.0}
        show([case(rates, dict.fromkeys(rates, 9), {"st": 0.0, "best": 0.0, "half": 1e-3}, {})], {}, as_json=False)
        assert "documents, exact: no runner of ours is within 0.0001   goals: missed" in capsys.readouterr().out

    def test_table_and_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        cases = [self.make(0.001), self.make(0.003)]
        show(cases, {"rounds": 1}, as_json=False)
        table = capsys.readouterr().out
        assert "goal 2.00: missed" in table
        assert "mean of 2 collections" in table
        show(cases, {"rounds": 1}, as_json=True)
        content = json.loads(capsys.readouterr().out)
        assert content["cases"][0]["loss"]["int8"] == pytest.approx(0.001)
        assert content["means"]["mini-bert"]["loss"]["int8"] == pytest.approx(0.002)

    def test_random_weights_have_no_quality(self, capsys: pytest.CaptureFixture[str]) -> None:
        show([self.make(None)], {}, as_json=False)
        assert "0.0e+00       100.0%  1.000000, 1.0000  -" in capsys.readouterr().out
        assert means([self.make(None), self.make(None)]) == {}


VALUES = {
    "rates": (10.0, 20.0, 15.0, 30.0),
    "peaks": (800, 700, 200, 100),
    "differences": (0.0, 0.0, 1e-6, 0.1),
}


def test_a_case_runs_every_side_in_every_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes are stood in for: what they do is tested above."""
    ran: list[str] = []
    texts = with_fixed(read_collection(command.SAMPLE, "test"), 3)

    def stand_in(runner: Runner, file: Path, vectors: Path | None = None) -> Measured:
        ran.append(runner.name)
        steps = json.loads(file.read_text(encoding="utf-8"))
        for name, many in steps.items() if vectors else ():
            own = SparseBatch.from_vectors(SpladeEncoder.load("mini-bert").encode_documents(many))
            write_vectors(vectors / name, own)
        return Measured(1, 0.1, {name: Step(1.0, 1.0, 2) for name in steps})

    monkeypatch.setattr(command, "measure_runner", stand_in)
    monkeypatch.setattr(command, "best_batch", lambda *_: 8)
    found = measure_case(Checkpoint("mini-bert", "mini-bert", "mini-bert", "int8", "st", (), judged=False), texts, Device.cpu, 2, tmp_path)
    once = ["sentence-transformers", "sentence-transformers, batch 8", "torch float32", "onnx float32", "onnx int8"]
    assert ran == [*once, *reversed(once)]
    assert found.lengths[FIXED][0] >= WORDS_OF_FIXED
    assert found.ndcg == {}
    assert {like.largest_difference for runner in found.likeness.values() for like in runner.values()} == {0.0}


def test_a_gpu_has_its_own_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "best_batch", lambda *_: 64)
    texts = read_collection(command.SAMPLE, "test")
    runners = make_runners(Checkpoint("base", "b", "o", "i", "b", (), judged=False), texts, Device.cuda)
    assert [runner.dtype for runner in runners] == ["float32", "float32", "float32", "bfloat16", "float16"]
    assert {runner.device for runner in runners} == {"cuda"}
    assert not any(runner.channel for runner in runners)


def test_the_best_batch_size_is_one_of_those_that_were_tried(tmp_path: Path) -> None:
    folder = sentence_transformers_folder("mini-bert", tmp_path)
    runner = Runner("st", "sentence-transformers", str(folder), channel="mini-bert")
    assert best_batch(runner, TEXTS[:2], (1, 2, 64)) in (1, 2)


def test_a_gpu_that_is_not_there_is_refused() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    app = typer.Typer()
    app.command()(command.encode)
    result = CliRunner().invoke(app, ["--device", "cuda"])
    assert result.exit_code == 2
    assert "no CUDA device" in result.output
