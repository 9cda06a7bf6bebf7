"""Concepts beside words: each is what the equation says, the words stay as they were, and what is broken is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.concept_heads import RIDGE, pursued
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError, TextError
from splade_ptbr_connectors.splitting import Splitter
from tests.unit.encoding import concepts_model as model
from tests.unit.encoding.words_model import make_words_model

WORDS = "imposto insonia prazo noite dormir casa de o xyz 123".split()
texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.make_concepts_model(tmp_path_factory.mktemp("concepts") / "model")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> SpladeEncoder:
    return SpladeEncoder.load(folder)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> SpladeEncoder:
    return SpladeEncoder.load(make_words_model(tmp_path_factory.mktemp("words") / "model"))


def expected(text: str, side: str) -> dict[int, float]:
    """By the equations of encoding/concept_heads.py, one text at a time."""
    if not text.strip():
        return {}
    tensors = model.head()
    rows = model.table()[model.pieces().encode({"query": "qual ", "document": "casa "}[side] + text).ids]
    unit = rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0)) - tensors[f"{side}.centre"]
    unit /= np.linalg.norm(unit)
    if side == "query":
        correlations, towards = model.matrix("query.correlations"), model.matrix("query.with_similarity") @ unit
        chosen, weights = pursued(correlations + RIDGE * np.eye(model.SIZE), towards, model.TOP["query"])
        return {model.FIRST + n: float(2.5 * w / tensors["query.deviations"][n]) for n, w in zip(chosen, weights, strict=True)}
    found = np.maximum(model.matrix("document.directions") @ unit + tensors["document.bias"], 0)
    best = np.argsort(-found)[: model.TOP[side]]
    return {model.FIRST + int(n): float(found[n]) for n in best if found[n] > 0}


def split(vector: dict[int, float]) -> tuple[dict[int, float], dict[int, float]]:
    return {t: w for t, w in vector.items() if t < model.FIRST}, {t: w for t, w in vector.items() if t >= model.FIRST}


@pytest.mark.parametrize("side", ["query", "document"])
@given(batch=texts)
def test_concepts_are_what_the_equation_says_and_words_stay(
    encoder: SpladeEncoder, words: SpladeEncoder, side: str, batch: list[str]
) -> None:
    encode, alone = (getattr(one, "encode_queries" if side == "query" else "encode_documents") for one in (encoder, words))
    for text, vector, lexical in zip(batch, encode(batch), alone(batch), strict=True):
        of_words, of_concepts = split(vector.to_dict())
        assert of_words == pytest.approx(lexical.to_dict())
        wanted = {term: weight for term, weight in expected(text, side).items() if weight > 1e-5}
        assert {term: weight for term, weight in of_concepts.items() if weight > 1e-5} == pytest.approx(wanted, rel=1e-3)


def test_a_long_text_has_the_mean_concepts_of_its_windows(tmp_path: Path) -> None:
    encoder = SpladeEncoder.load(model.make_concepts_model(tmp_path / "model", max_length=16, top_document=model.SIZE))
    start, end = "imposto prazo " * 10, ("dormir noite " * 25).strip()
    texts = encoder._concepts.tokenize([start, end, start + end], "document") if encoder._concepts else []
    assert encoder._concepts and len(texts[2].windows) > len(texts[0].windows) > 1
    parts = [(ids, encoder._concepts.vectors([replace(texts[2], windows=[ids])], "document", 8)[0].to_dict()) for ids in texts[2].windows]
    tokens = sum(len(ids) for ids, _ in parts)
    wanted = {term: sum(len(ids) * part.get(term, 0.0) for ids, part in parts) / tokens for _, found in parts for term in found}
    assert split(encoder.encode_document(start + end).to_dict())[1] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("unknown", ["?!", "... --- ...", "\U0001f600", "\u200b", "\U0001f600 \U0001f600 \x01", "\U0001f600 " * 200])
def test_a_text_without_a_known_token_has_no_concepts(encoder: SpladeEncoder, unknown: str) -> None:
    assert len(encoder.encode_query(unknown)) == len(encoder.encode_document(unknown)) == 0
    assert split(encoder.encode_document(f"noite {unknown}").to_dict())[1]


def test_long_texts_are_met_by_the_limit_of_the_network(encoder: SpladeEncoder, folder: Path) -> None:
    assert encoder.document_room < 128 and encoder.count_tokens(["imposto de renda"]) == [
        len(model.pieces().encode("imposto de renda").ids) - 2
    ]
    with pytest.raises(TextError, match="on_long"):
        SpladeEncoder.load(folder, on_long="error").encode_document("imposto " * 140)


def test_a_shorter_limit_of_the_words_is_kept_by_passages_too(folder: Path) -> None:
    encoder = SpladeEncoder.load(folder, max_length_document=12, on_long="error")
    passages = Splitter(encoder).split("imposto de renda " * 40)
    assert encoder.document_room <= 12 and len(passages) > 3
    assert all(len(encoder.encode_document(passage.text)) for passage in passages)


def test_terms_have_the_names_of_concepts_and_no_word_is_one(encoder: SpladeEncoder) -> None:
    assert [encoder.token(model.FIRST + n) for n in range(model.SIZE)] == model.NAMES
    assert all(term < model.FIRST for term, _, _ in encoder.pieces("≈concept·1"))


def test_pruning_is_of_words_and_concepts_together(folder: Path) -> None:
    vector = SpladeEncoder.load(folder, max_active_terms_query=2).encode_query("imposto prazo noite")
    assert len(vector) == 2


def test_the_fingerprint_knows_every_file(folder: Path, tmp_path: Path) -> None:
    known = SpladeEncoder.load(folder).fingerprint
    other = model.make_concepts_model(tmp_path / "other", tensors={"query.deviations": np.ones(model.SIZE, np.float32)})
    assert SpladeEncoder.load(other).fingerprint != known
    assert SpladeEncoder.load(model.make_concepts_model(tmp_path / "same")).fingerprint == known
    changed = model.make_concepts_model(tmp_path / "third", top_query=2)
    assert SpladeEncoder.load(changed).fingerprint != known


def test_what_else_lies_beside_its_files_is_no_part_of_a_model(folder: Path, tmp_path: Path) -> None:
    other = model.make_concepts_model(tmp_path / "model")
    (other / "concepts" / ".DS_Store").write_bytes(b"of a file manager")
    (other / "concepts" / ".cache").mkdir()
    (other / "concepts" / "lost").symlink_to("nowhere")
    assert SpladeEncoder.load(other).fingerprint == SpladeEncoder.load(folder).fingerprint


def test_there_is_nothing_for_torch_and_nothing_to_export(folder: Path, encoder: SpladeEncoder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no weights for torch"):
        SpladeEncoder.load(folder, runtime="torch")
    with pytest.raises(ConfigError, match="is exported already"):
        encoder.export_onnx(tmp_path / "out")


@pytest.mark.parametrize("name", ["model.onnx", "head.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    made = model.make_concepts_model(tmp_path / "model")
    (made / "concepts" / name).unlink()
    with pytest.raises(ModelFormatError, match=name.replace(".", r"\.")):
        SpladeEncoder.load(made)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"query.deviations": np.ones(3, np.float32)}, "query.deviations"),
        ({"query.deviations": np.zeros(model.SIZE, np.float32)}, "query.deviations"),
        ({"query.deviations": np.full(model.SIZE, 1e-45, np.float32)}, "query.deviations"),
        ({"query.centre": np.full(model.WIDTH, 1e30, np.float32)}, "centres"),
        ({"document.directions.scale": np.full(model.SIZE, 3e38, np.float32)}, "matrices"),
        ({"query.with_similarity.scale": np.full(model.SIZE, 3e38, np.float32)}, "matrices"),
        ({"query.correlations.scale": np.full(model.SIZE, 1e16, np.float32)}, "query.correlations"),
        ({"query.correlations": -np.eye(model.SIZE, dtype=np.int8)}, "query.correlations"),
        ({"query.correlations": np.triu(np.full((model.SIZE, model.SIZE), 100, np.int8))}, "query.correlations"),
        ({"document.centre": np.full(model.WIDTH, np.nan, np.float32)}, "document.centre"),
        ({"query.correlations": np.zeros((2, 2), np.int8)}, "query.correlations"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tensors: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match=message):
        SpladeEncoder.load(model.make_concepts_model(tmp_path / "model", tensors=tensors))


@pytest.mark.parametrize("name", ["words", "expansion"])
def test_a_word_whose_term_is_a_concept_is_refused(name: str, tmp_path: Path) -> None:
    made = model.make_concepts_model(tmp_path / "model")
    tensors = load_file(made / f"{name}.safetensors")
    tensors["terms" if name == "words" else "thesaurus.terms"][-1] = model.FIRST
    save_file(tensors, made / f"{name}.safetensors")
    with pytest.raises(ModelFormatError, match=rf"{name}\.safetensors"):
        SpladeEncoder.load(made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concepts": {"dimensions": 7}}, "shape"),
        ({"concepts": {"size": 99}}, r"splade\.json: concepts are further terms .* than of all terms\.$"),
        ({"words": None}, "words"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    made = model.make_concepts_model(tmp_path / "model")
    config = json.loads((made / "splade.json").read_text(encoding="utf-8"))
    for name, value in change.items():
        config[name] = config[name] | value if isinstance(value, dict) else value
    (made / "splade.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelFormatError, match=message):
        SpladeEncoder.load(made)


def test_a_graph_that_was_changed_is_refused(tmp_path: Path) -> None:
    made = model.make_concepts_model(tmp_path / "model")
    with (made / "concepts" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelFormatError, match="is not the graph"):
        SpladeEncoder.load(made)
