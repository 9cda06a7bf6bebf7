"""The model card says what was measured and nothing else: every figure in it is from the log, the folder or the rows handed in."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.sentence_transformers_writer import POOLING_FOLDER
from splade_ptbr_connectors.errors import ConfigError, InputFileError, ModelFormatError
from tests.training import run_logs
from training.publish.card import CardOptions, base_model, model_card, run_of
from training.publish.descriptions import cell, is_hub_id, markdown_table, published
from training.runlog import RunLogData, read_log

OPTIONS = CardOptions(license="apache-2.0", repo_id="alguem/modelo")


def evaluated(name: str, value: float = 0.7123, **changes: Any) -> dict[str, Any]:
    counts = {"missing_relevant": 0}
    row = {
        "collection": name, "metric": "nDCG@10", "quality": value, "measures": {"nDCG@10": value, "R@100": 0.9},
        "queries": 404, "documents": 5123, "terms_query": 8.25, "terms_document": 161.4,
        "empty_queries": 0, "empty_documents": 0, "unanswered": 0, "counts": counts, "about": "",
    }  # fmt: skip
    return row | changes


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run: its log, and a packed model without weights."""
    folder = tmp_path / "run"
    run_logs.write(folder, run_logs.rows())
    (folder / "model").mkdir()
    EncoderConfig(vocab_size=29794, max_length_query=64, max_length_document=256).write(folder / "model")
    (folder / "model" / "recipe.json").write_text(json.dumps(run_logs.recipe()), encoding="utf-8")
    return folder


def card_of(run: Path, rows: list[dict[str, Any]] | None = None, options: CardOptions = OPTIONS) -> str:
    return model_card(run / "model", read_log(run), [evaluated("faquad:test")] if rows is None else rows, options)


def rewritten(run: Path, **changes: Any) -> RunLogData:
    """The run with another recipe."""
    (run / "model" / "recipe.json").unlink(missing_ok=True)
    return read_log(run_logs.write(run, run_logs.rows(**changes)))


def metadata_of(text: str, tmp_path: Path) -> dict[str, Any]:
    from huggingface_hub import metadata_load

    (tmp_path / "card.md").write_text(text, encoding="utf-8")
    loaded = metadata_load(tmp_path / "card.md")
    assert loaded is not None
    return loaded


# -- what the hub reads -----------------------------------------------------------------------------------------------


def test_the_front_matter_is_what_the_hub_asks_for(run: Path, tmp_path: Path) -> None:
    metadata = metadata_of(card_of(run, [evaluated("faquad:test"), evaluated("pira:test", 0.876543)]), tmp_path)
    assert metadata["language"] == "pt" and metadata["license"] == "apache-2.0"
    assert metadata["pipeline_tag"] == "feature-extraction" and metadata["base_model"] == "neuralmind/bert-base-portuguese-cased"
    assert {"sparse-encoder", "splade"} <= set(metadata["tags"]) and metadata["library_name"] == "splade-ptbr-connectors"
    results = metadata["model-index"][0]
    assert results["name"] == "modelo"
    found = {(r["dataset"]["name"], m["name"], m["type"]): m["value"] for r in results["results"] for m in r["metrics"]}
    assert found[("pira:test", "nDCG@10", "ndcg_at_10")] == 0.8765 and len(found) == 4
    assert {r["dataset"]["split"] for r in results["results"]} == {"test"}


def test_sentence_transformers_is_named_only_when_it_can_load_the_folder(run: Path, tmp_path: Path) -> None:
    without = card_of(run)
    assert "SparseEncoder" not in without and "sentence-transformers" not in metadata_of(without, tmp_path)["tags"]
    (run / "model" / POOLING_FOLDER).mkdir()
    text = card_of(run)
    metadata = metadata_of(text, tmp_path)
    assert metadata["library_name"] == "sentence-transformers" and "sentence-transformers" in metadata["tags"]
    assert 'SparseEncoder("alguem/modelo")' in text and 'SpladeEncoder.load("alguem/modelo")' in text


def test_without_a_measurement_no_result_is_declared(run: Path, tmp_path: Path) -> None:
    metadata = metadata_of(card_of(run, []), tmp_path)
    assert "model-index" not in metadata and "metrics" not in metadata
    assert "No test collection was measured" in card_of(run, [])


def test_a_folder_of_this_machine_is_no_base_model(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = rewritten(run, model={"kind": "pretrained", "path": str(tmp_path)})
    assert base_model(local, OPTIONS) is None
    assert base_model(local, CardOptions("mit", base_model="a/b")) == "a/b"
    assert base_model(rewritten(run, model={"kind": "small", "layers": 2}), OPTIONS) is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "bert").mkdir(parents=True)
    assert not is_hub_id("models/bert") and is_hub_id("neuralmind/bert-base-portuguese-cased") and not is_hub_id("bert")


def test_a_card_needs_a_licence(run: Path) -> None:
    for nothing in ("", "  "):
        with pytest.raises(ConfigError, match="licence"):
            card_of(run, options=CardOptions(license=nothing))


# -- figures ----------------------------------------------------------------------------------------------------------


def prose(text: str) -> str:
    """The card without front matter, recipe and code."""
    body = text.split("---\n", 2)[2]
    return re.sub(r"```.*?```", "", body, flags=re.DOTALL)


def test_the_table_has_the_rows_with_their_denominators(run: Path) -> None:
    rows = [
        evaluated("faquad:test", 0.7123, bm25={"nDCG@10": 0.72, "R@100": 0.8}),
        evaluated("pira:test", 0.9, queries=332, bm25={"nDCG@10": 0.9, "R@100": 0.95}),
    ]
    text = card_of(run, rows)
    assert "| faquad:test | 404 | 5,123 | 0.712 | 0.720 | 8.2 | 161 |" in text
    assert "| pira:test | 332 | 5,123 | 0.900 | 0.900 | 8.2 | 161 |" in text
    assert "| faquad:test | 404 | 5,123 | 0.900 | 0.800 | 8.2 | 161 |" in text
    assert "By nDCG@10 the model is at or above stemmed BM25 on pira:test, below it on faquad:test." in text


def test_without_bm25_nothing_is_said_about_it(run: Path) -> None:
    assert "BM25" not in prose(card_of(run))


def test_every_figure_in_the_prose_was_measured_or_set(run: Path) -> None:
    """No number of the card is a constant of its text, but for names of papers and of BM25's formula."""
    text = re.sub(r"arXiv [\d.]+|BM25|L1|1e-05", "", prose(card_of(run, [evaluated("faquad:test", 0.123, terms_query=3.5)])))
    log = read_log(run)
    known = json.dumps([run_logs.rows(), EncoderConfig(vocab_size=29794, max_length_query=64, max_length_document=256).model_dump()])
    size = sum(file.stat().st_size for file in (run / "model").iterdir()) / 1e6
    known += f" {size} 0.123 404 5123 3.5 161 0.900 {log.seconds} 16 0.620 0.720 0.520 0.0 8 10 100"
    allowed = {float(value) for value in re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", known)}
    for figure in re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w])", text):
        value = float(figure.replace(",", ""))
        assert any(abs(value - other) <= 0.005 * max(abs(other), 1e-9) for other in allowed), figure


def test_the_training_is_described_by_recipe_and_log(run: Path) -> None:
    text = card_of(run)
    for said in (
        "12 of 12 optimiser steps in 16 s",
        "device cpu, cores 2",
        "1 x contrastive, 0.05 x margin_mse; candidates `all`: every passage of the batch",
        "L1, lambda 0.0005, rising as the square of the step over 4 optimiser steps; 0.0005 at the last step",
        "convention `stacked` (computed over all documents of the batch at once), lambda steered to 120 terms; 0.003 at the last step",
        "Chosen: step 8, by the mean nDCG@10",
        "learning rate 2e-05 after 3 optimiser steps",
        "Every schedule is counted in optimiser steps.",
        "Uma nota.",
        "Ended: every step was done",
        f"| sha256 | {'ab' * 32} |",
        "64 tokens of a query, 256 of a document",
        "saved model, nDCG@10: faquad:dev 0.720, irpf-faq:held-out 0.520; mean 0.620",
    ):
        assert said in text, said


def test_an_interrupted_run_is_called_one(run: Path) -> None:
    run_logs.write(run, [row for row in run_logs.rows() if row["event"] != "end"])
    assert "the log has no end" in card_of(run) and "one of its checkpoints" in card_of(run)


def test_no_validation_split_passes_for_a_test(run: Path) -> None:
    assert "None of the collections under Quality was a validation split" in card_of(run)
    text = card_of(run, [evaluated("faquad:dev"), evaluated("pira:test")])
    assert "Also validation splits, so no test of the model: faquad:dev." in text
    assert "None of the collections" not in text


def test_collections_whose_train_split_was_used_are_named(run: Path) -> None:
    text = card_of(run, [evaluated("faquad:test"), evaluated("pira:test")])
    assert "(their train splits): faquad:test." in text


def test_limits_are_measured_ones(run: Path) -> None:
    troubled = evaluated(
        "pira:test", queries=50, empty_documents=3, unanswered=7, counts={"missing_relevant": 2}, about="2 relevant are missing"
    )
    limits = card_of(run, [evaluated("faquad:test"), troubled]).split("## Limits")[1]
    assert "pira:test: 3 documents without any term, 7 of 50 queries without any hit" in limits
    assert "pira:test: 2 relevant are missing." in limits and "faquad:test:" not in limits
    assert "The smallest collection, pira:test, has 50 queries" in limits
    assert "1 of 4 checkpoints could not be chosen" in limits and "more than 256 tokens" in limits


@pytest.mark.parametrize("model", [{"kind": "small", "layers": 2, "hidden_size": 128}, {"kind": "lexical", "layers": 1}, {"kind": "novo"}])
@pytest.mark.parametrize(
    "sparsity", [{"query": None, "document": None}, {"document": {"regularizer": "df_flops", "weight": 1, "convention": "summed"}}]
)
def test_every_recipe_has_a_card(run: Path, tmp_path: Path, model: dict[str, Any], sparsity: dict[str, Any]) -> None:
    log = rewritten(
        run, model=model, sparsity=sparsity, sparse_embed={"size": 64}, note="", ranking={"losses": {"kl": 1.0}, "bm25_teacher": True}
    )
    text = model_card(run / "model", log, [], OPTIONS)
    metadata_of(text, tmp_path)
    assert "SparseEmbed" in text and "teacher: stemmed BM25" in text and "None" not in prose(text)


def test_a_bare_recipe_has_a_card(run: Path, tmp_path: Path) -> None:
    (run / "model" / "recipe.json").unlink()
    run_logs.write(run, [{"event": "start", "recipe": {"name": "x"}}, {"event": "step", "step": 1}])
    text = card_of(run, [], CardOptions("mit"))
    assert metadata_of(text, tmp_path)["license"] == "mit" and "# x" in text


def test_further_sections_stand_before_the_limits(run: Path) -> None:
    text = card_of(run, options=CardOptions("mit", sections="## Licenças dos dados\n\nMIT."))
    assert text.index("## Data") < text.index("## Licenças dos dados") < text.index("## Limits")


# -- what stays private -----------------------------------------------------------------------------------------------


def test_folders_and_hosts_of_the_machine_are_not_published(run: Path) -> None:
    data = {"kind": "triplets", "collection": "/home/segredo/msmarco/collection.tsv", "queries": "C:\\Users\\segredo\\q.tsv"}
    log = rewritten(run, data=data, model={"kind": "pretrained", "path": "~/segredo/bert"}, note="")
    text = model_card(
        run / "model", log, [], CardOptions("mit", command="python -m training train /home/segredo/r.toml --data /home/segredo/d")
    )
    assert "segredo" not in text
    assert ".../collection.tsv" in text and ".../q.tsv" in text and ".../bert" in text and "train .../r.toml --data .../d" in text


@pytest.mark.parametrize(
    "kept", ["text/a/b", "neuralmind/bert-base", "1/2", "e/ou", "hub:a/b/c.tsv", "https://exemplo.org/x", "a ~ b", "~10", "e / ou"]
)
def test_relative_paths_and_prose_stay(kept: str) -> None:
    assert published(kept) == kept


@given(text=st.text())
def test_a_cell_is_one_line_without_column_ends(text: str) -> None:
    assert "\n" not in cell(text) and not re.search(r"(?<!\\)\|", cell(text))


def test_tables_hold_what_names_hold(run: Path) -> None:
    assert markdown_table(["a", "b"], [["x|y\nz", 1234]]) == "| a | b |\n| --- | ---: |\n| x\\|y z | 1,234 |"
    assert "| a\\|b:test |" in card_of(run, [evaluated("a|b:test")])


# -- what has no card -------------------------------------------------------------------------------------------------


def test_a_run_or_its_model_folder_is_accepted(run: Path) -> None:
    assert run_of(run) == run_of(run / "model") == (run / "model", run / "training.jsonl")


def test_a_missing_log_is_an_error(run: Path, tmp_path: Path) -> None:
    (run / "training.jsonl").unlink()
    for path in (run, run / "model", tmp_path / "nowhere"):
        with pytest.raises(InputFileError, match=r"has no training\.jsonl"):
            run_of(path)


def test_a_run_that_has_packed_nothing_is_an_error(run: Path) -> None:
    shutil.rmtree(run / "model")
    with pytest.raises(ModelFormatError, match="has packed no model yet"):
        run_of(run)


def test_the_log_of_another_run_is_refused(run: Path) -> None:
    run_logs.write(run, run_logs.rows(seed=99))
    with pytest.raises(ModelFormatError, match="another run"):
        card_of(run)


def test_a_collection_is_measured_once(run: Path) -> None:
    with pytest.raises(ConfigError, match="twice"):
        card_of(run, [evaluated("a:test"), evaluated("a:test")])


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_measures_the_model_and_writes_its_card(tmp_path: Path, tiny_model: Path, data_dir: Path) -> None:
    pytest.importorskip("ir_measures")
    pytest.importorskip("bm25s")
    from training.commands.card import card

    run_logs.write(tmp_path / "run", run_logs.rows())
    shutil.copytree(tiny_model, tmp_path / "run" / "model")
    size = json.loads((tiny_model / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    EncoderConfig(vocab_size=size, max_length_query=32, max_length_document=64).write(tmp_path / "run" / "model")
    app = typer.Typer()
    app.command()(card)
    refused = CliRunner().invoke(app, [str(tmp_path / "run"), "--data", str(data_dir)])
    assert isinstance(refused.exception, ConfigError) and not (tmp_path / "run" / "model" / "README.md").exists()
    result = CliRunner().invoke(app, [str(tmp_path / "run"), "--data", str(data_dir), "--license", "mit", "--repo-id", "a/b"])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert re.search(r"\| toy:test \| 8 \| 48 \| 0\.\d{3} \| \d\.\d{3} \|", text)
    assert metadata_of(text, tmp_path)["model-index"][0]["results"][0]["dataset"]["name"] == "toy:test"
