"""Saved models on judged collections: equal to measuring block by block, with denominators, and errors for what cannot be measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from scipy import sparse
from typer.testing import CliRunner

from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.errors import ConfigError, InputError, InputFileError, ModelNotFoundError, SpladeConnectorsError
from splade_ptbr_connectors.evaluation.collections import JudgedCollection
from splade_ptbr_connectors.evaluation.collections.texts import read_documents
from splade_ptbr_connectors.evaluation.measures import measure as measure_run
from splade_ptbr_connectors.evaluation.runs import read_run
from splade_ptbr_connectors.vectors import SparseBatch
from tests.support.encoders import HashingEncoder
from training.commands.chosen import chosen_collections, files_of, read_settings, split_of, splits_in
from training.commands.compare import compare as compare_command
from training.commands.evaluate import evaluate as evaluate_command
from training.commands.mine import mine as mine_command
from training.commands.score import score as score_command
from training.measure import saved_models
from training.measure.saved_models import compare, evaluate, evaluation_row, write_runs
from training.measure.validation import measure

METRICS = ["nDCG@10", "RR@10", "R@20"]
WORDS = "imposto renda vacina café água rio mar lei prazo banco conta texto busca palavra termo ano dia casa cidade país".split()
DOCUMENTS = {f"d{n}": " ".join(WORDS[(n * step) % len(WORDS)] for step in range(1, 5 + n % 7)) for n in range(50)}
QUERIES = {f"q{n}": " ".join(DOCUMENTS[f"d{n}"].split()[:2]) for n in range(20)} | {"672": "sem nada relevante"}
QRELS = {f"q{n}": {f"d{n}": 2, f"d{(n * 7) % 50}": 1, "absent": 1} for n in range(20)} | {"672": {"d1": 0}}


def write_beir(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", DOCUMENTS), ("queries", QUERIES)):
        rows = [json.dumps({"_id": key, "text": text}, ensure_ascii=False) + "\n" for key, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
    judged = [f"{q}\t{d}\t{grade}\n" for q, grades in QRELS.items() for d, grade in grades.items()]
    for split in ("train", "test"):
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluating")
    write_beir(folder / "one")
    write_beir(folder / "two")
    (folder / "collection.tsv").write_text("".join(f"{k}\t{v}\n" for k, v in DOCUMENTS.items()), encoding="utf-8")
    (folder / "queries.tsv").write_text("".join(f"{k}\t{v}\n" for k, v in QUERIES.items()), encoding="utf-8")
    judged = [f"{q} 0 {d} {grade}\n" for q, grades in QRELS.items() for d, grade in grades.items()]
    (folder / "qrels.trec").write_text("".join(judged), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def collection(data: Path) -> JudgedCollection:
    return split_of(data / "one", "test")


def matrices(encode: Callable[[list[str]], Any], vocab_size: int) -> Callable[[list[str]], sparse.csr_matrix]:
    return lambda batch: sparse.csr_matrix(SparseBatch.from_vectors(encode(batch)).to_scipy(vocab_size))


@pytest.mark.parametrize("kind", ["hashing", "network"])
def test_a_streamed_evaluation_equals_the_validation_during_training(kind: str, collection: JudgedCollection, tiny_model: Path) -> None:
    encoder: Any = HashingEncoder() if kind == "hashing" else SpladeEncoder.load(tiny_model)
    measured, _ = evaluate(encoder, collection, METRICS)
    size = encoder.vocab_size
    oracle = measure(
        matrices(encoder.encode_queries, size),
        matrices(encoder.encode_documents, size),
        collection,
        vocab_size=size,
        metric="nDCG@10",
        further=METRICS,
    )
    if kind == "network":  # other batches change the last bits of a weight
        assert measured.measures == pytest.approx(oracle.measures, abs=0.02)
        assert measured.terms_document == pytest.approx(oracle.terms_document, abs=0.1)
    else:
        assert replace(measured, seconds=0.0) == replace(oracle, seconds=0.0)


def test_the_size_of_blocks_changes_nothing(collection: JudgedCollection, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, run = evaluate(HashingEncoder(), collection, METRICS)
    monkeypatch.setattr(saved_models, "DOCUMENTS_AT_ONCE", 7)
    parts, again = evaluate(HashingEncoder(), collection, METRICS)
    assert replace(whole, seconds=0.0) == replace(parts, seconds=0.0) and run == again


def test_only_one_block_of_documents_is_held(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_models, "DOCUMENTS_AT_ONCE", 4)
    encoder, taken = HashingEncoder(), []

    def watched() -> Any:
        for row in read_documents(data / "collection.tsv"):
            taken.append(encoder.texts_encoded)
            yield row

    evaluate(encoder, replace(split_of(data / "one", "test"), read_documents=watched), ["nDCG@10"])
    assert all(position - (encoded - len(QUERIES) + 1) <= 4 for position, encoded in enumerate(taken))


def test_denominators_and_sizes_are_stated(collection: JudgedCollection) -> None:
    encoder = HashingEncoder()
    measured, _ = evaluate(encoder, collection, METRICS)
    row = evaluation_row(measured, collection, encoder, bm25=True)
    assert (row["queries"], row["judged_queries"], row["counts"]["without_relevant"]) == (20, 21, 1)
    assert "means over 20 of 21 judged queries" in row["about"] and row["counts"]["missing_relevant"] == 1
    assert row["terms_document"] > 0 and set(row["bm25"]) == set(row["measures"]) == set(METRICS)
    json.dumps(row, allow_nan=False)


def test_the_run_that_is_written_has_the_measures_that_were_printed(collection: JudgedCollection, tmp_path: Path) -> None:
    measured, run = evaluate(SpladeEncoder.load(_tiny(tmp_path)), collection, METRICS)
    write_runs(tmp_path / "run.trec", {"one": run})
    read = read_run(tmp_path / "run.trec")
    assert {query_id: list(found) for query_id, found in read.items()} == {q: [d for d, _ in hits] for q, hits in run.items() if hits}
    assert measure_run(read, collection.qrels, METRICS).means == pytest.approx(measured.measures, abs=1e-6)


def _tiny(folder: Path) -> Path:
    from tests.conftest import make_tiny_model

    (folder / "model").mkdir()
    return make_tiny_model(folder / "model", seed=5)


def test_runs_of_several_collections_keep_their_queries_apart(collection: JudgedCollection, tmp_path: Path) -> None:
    run = evaluate(HashingEncoder(), collection, METRICS)[1]
    write_runs(tmp_path / "run.trec", {"one:test": run, "two:test": run})
    assert {query_id.partition("/")[0] for query_id in read_run(tmp_path / "run.trec")} == {"one:test", "two:test"}


@pytest.mark.parametrize(("metrics", "message"), [([], "no measure"), (["nDCG"], "no cut-off"), (["ndgc@10"], "not a measure")])
def test_measures_that_say_nothing_are_errors(collection: JudgedCollection, metrics: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(HashingEncoder(), collection, metrics)


# -- what options name ------------------------------------------------------------------------------------------------


def test_files_and_folders_name_the_same_collection(data: Path, collection: JudgedCollection) -> None:
    files = files_of(f"toy={data / 'collection.tsv'}, {data / 'queries.tsv'},{data / 'qrels.trec'}")
    assert files.name == "toy" and files.qrels == collection.qrels and files.queries == collection.queries
    assert dict(files.documents()) == dict(collection.documents())
    assert files_of(f"{data / 'one'},{data / 'one'},{data / 'qrels.trec'}").name == "one"


def test_without_single_collections_every_one_with_the_split_is_taken(data: Path) -> None:
    assert [c.name for c in chosen_collections(data, "test")] == ["one:test", "two:test"]
    assert [c.name for c in chosen_collections(data, "test", [data / "two"])] == ["two:test"]


def test_collections_that_are_not_there_are_errors(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder in"):
        list(splits_in(data, "dev"))
    with pytest.raises(ConfigError, match="no split 'dev'; it has test"):
        split_of(data / "one", "dev")
    with pytest.raises(ConfigError, match="names 2 files"):
        files_of("a,b")
    (tmp_path / "empty" / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (tmp_path / "empty" / name).write_text("")
    with pytest.raises(InputFileError, match="empty"):
        split_of(tmp_path / "empty", "test")


def test_settings_are_values_by_key() -> None:
    assert read_settings(["max_active_terms_document=20", "min_weight_query=0.5", "pooling=sum", "tokenizer=a/b"]) == {
        "max_active_terms_document": 20,
        "min_weight_query": 0.5,
        "pooling": "sum",
        "tokenizer": "a/b",
    }
    for text in ("[" * 5000, "9" * 5000):  # what json does not read is a text
        assert read_settings([f"name={text}"]) == {"name": text}


@pytest.mark.parametrize("setting", ["max_active_terms_document", "=3", "a=", "batch_size=3", "a b=3"])
def test_settings_without_key_or_value_are_errors(setting: str) -> None:
    with pytest.raises(ConfigError):
        read_settings([setting])


# -- two models -------------------------------------------------------------------------------------------------------


def test_a_model_compared_with_itself_does_not_differ(collection: JudgedCollection) -> None:
    (one,) = compare(HashingEncoder(), HashingEncoder(), [collection], "nDCG@10", permutations=10_000)
    assert (one.comparison.p_randomisation, one.comparison.difference, one.comparison.queries) == (1.0, 0.0, 20)
    assert one.to_dict()["terms_document_a"] == one.to_dict()["terms_document_b"] > 0


def test_means_of_a_comparison_are_those_of_the_evaluation(data: Path, tiny_model: Path) -> None:
    a, b = HashingEncoder(vocab_size=11), SpladeEncoder.load(tiny_model)
    collections = list(splits_in(data, "test"))
    compared = compare(a, b, collections, "RR@10", permutations=10_000)
    for one, judged in zip(compared, collections, strict=True):
        assert one.comparison.mean_a == pytest.approx(evaluate(a, judged, ["RR@10"])[0].quality)
        assert one.comparison.mean_b == pytest.approx(evaluate(b, judged, ["RR@10"])[0].quality)
        assert one.comparison.p_holm == min(1.0, 2 * one.comparison.p_randomisation)  # two collections that are the same
        json.dumps(one.to_dict(), allow_nan=False)


def test_nothing_to_compare_on_is_an_error() -> None:
    with pytest.raises(InputError, match="no collection"):
        compare(HashingEncoder(), HashingEncoder(), [])
    with pytest.raises(ConfigError, match="no cut-off"):
        compare(HashingEncoder(), HashingEncoder(), [], "RR")


# -- commands ---------------------------------------------------------------------------------------------------------


def run(*arguments: object) -> str:
    app = typer.Typer()
    for command in (evaluate_command, compare_command, mine_command, score_command):
        app.command(command.__name__)(command)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_evaluate_prints_a_table_and_json_and_writes_the_run(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    text = run("evaluate", tiny_model, "--data", data, "--bm25", "--metric", "nDCG@10", "--metric", "R@1000")
    assert "one:test" in text and "two:test" in text and "BM25" in text and "20 of 21 judged queries" in " ".join(text.split())
    rows = json.loads(run("evaluate", tiny_model, "--collection", data / "one", "--json", "--run-out", tmp_path / "run.trec"))
    assert [row["collection"] for row in rows] == ["one:test"] and set(read_run(tmp_path / "run.trec")) <= set(QUERIES)
    pruned = json.loads(run("evaluate", tiny_model, "--collection", data / "one", "--json", "--set", "max_active_terms_document=3"))
    assert pruned[0]["terms_document"] == 3 < rows[0]["terms_document"]


def test_compare_prints_a_table_and_json(data: Path, tiny_model: Path) -> None:
    text = run("compare", tiny_model, tiny_model, "--data", data, "--set-b", "max_active_terms_document=3", "--permutations", 10_000)
    assert "p (Holm)" in text and "terms per document" in text
    document = json.loads(run("compare", tiny_model, tiny_model, "--collection", data / "one", "--json", "--permutations", 10_000))
    assert document["collections"][0]["p_randomisation"] == 1.0 and document["collections"][0]["metric"] == "nDCG@10"


def test_mine_then_score_gives_lines_that_can_be_trained_on(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    mined, scored = tmp_path / "mined.jsonl", tmp_path / "scored.jsonl"
    options = ("--draw", "3:5", "--draw", "4:40", "--max-share-of-positive", "inf", "--json")
    report = json.loads(run("mine", tiny_model, "--collection", data / "one", "--out", mined, *options))
    assert report["lines"] == len(mined.read_text(encoding="utf-8").splitlines()) > 0 and "near_positive_score" not in report["removed"]
    text = run("score", mined, "--out", scored, "--teacher-sparse", tiny_model, "--teacher-sparse", tiny_model, "--ensemble", "mean")
    assert f"{report['lines']:,} lines" in text
    lines = [json.loads(line) for line in scored.read_text(encoding="utf-8").splitlines()]
    assert all(len(line["scores"]) == len(line["documents"]) == len(line["doc_ids"]) <= 8 for line in lines)
    files = ("--queries", data / "queries.tsv", "--qrels", data / "qrels.trec")
    text = run(
        "mine",
        tiny_model,
        "--collection",
        data / "collection.tsv",
        *files,
        "--out",
        tmp_path / "files.jsonl",
        "--max-share-of-positive",
        "inf",
    )
    assert "positive_not_in_collection" in text and "candidates removed" in text


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("evaluate", "no-such-model!", "--data", "."), ModelNotFoundError),
        (("mine", "mini", "--collection", "c.tsv", "--queries", "q.tsv", "--out", "o.jsonl"), ConfigError),
        (("mine", "mini", "--collection", "c", "--out", "o.jsonl", "--draw", "fifty"), ConfigError),
        (("mine", "mini", "--collection", "c", "--out", "o.jsonl", "--draw", "١:٢"), ConfigError),
        (("score", "m.jsonl", "--out", "o.jsonl"), ConfigError),
        (("score", "m.jsonl", "--out", "o.jsonl", "--tokens", "one"), ConfigError),
        (("compare", "mini", "mini", "--set-a", "max_terms=3"), ConfigError),
    ],
)
def test_wrong_arguments_are_errors_of_the_package(arguments: tuple[str, ...], error: type[SpladeConnectorsError]) -> None:
    with pytest.raises(error):
        run(*arguments)
