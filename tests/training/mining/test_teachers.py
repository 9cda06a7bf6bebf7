"""Teacher scores: one for each document, whatever the batches, and an error for each one that is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.errors import ConfigError, InputError, InputFileError, ModelFormatError, ModelNotFoundError, TextError
from splade_ptbr_connectors.evaluation.runs import write_run
from tests.conftest import portuguese_vocabulary
from tests.support.encoders import HashingEncoder
from training.mining import teachers
from training.mining.mined_lines import MinedLine, read_mined
from training.mining.score import ENSEMBLES, combined, score
from training.mining.teachers import RunTeacher, Scores, SparseTeacher, cross_encoder, mono_t5

TEXTS = ["imposto de renda", "a vacina", "café com água no rio", "lei e prazo para o banco " * 6, "texto", "cidade país", "termo ano dia"]
PROMPT = "Pergunta {query} Documento {document} Relevante"


def lines(count: int = 7) -> list[dict[str, Any]]:
    rows = []
    for n in range(count):
        ids = [(n + k) % len(TEXTS) for k in range(2 + n % 3)]
        rows.append(
            {"query_id": f"q{n}", "query": f"busca {TEXTS[n % 7]}", "documents": [TEXTS[i] for i in ids], "doc_ids": [f"d{i}" for i in ids]}
        )
    return rows


@pytest.fixture
def mined(tmp_path: Path) -> Path:
    return written(tmp_path / "mined.jsonl", lines())


def written(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def scores_in(path: Path) -> list[list[float]]:
    return [json.loads(line)["scores"] for line in path.read_text(encoding="utf-8").splitlines()]


def make_classifier(folder: Path, *, outputs: int = 1) -> Path:
    """A tiny BertForSequenceClassification with random weights."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    torch.manual_seed(3)
    folder.mkdir()
    tokens = list(dict.fromkeys(portuguese_vocabulary()))
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64}
    config = BertConfig(vocab_size=len(tokens), num_labels=outputs, initializer_range=0.5, **sizes)
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=False, strip_accents=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classifier(tmp_path_factory.mktemp("teachers") / "classifier")


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny T5 with random weights and a vocabulary of words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("t5")
    words = ["<pad>", "</s>", "<unk>", "▁não", "▁sim", *sorted({w for t in [*TEXTS, PROMPT, "busca"] for w in t.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>").save_pretrained(folder)
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    config = T5Config(vocab_size=len(words), decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, initializer_factor=2.0, **sizes)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


# -- cross-encoders ---------------------------------------------------------------------------------------------------


def test_a_cross_encoder_gives_the_logits_of_its_network(classifier: Path, mined: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    report = score(mined, tmp_path / "scored.jsonl", [cross_encoder(str(classifier), batch_size=3)])
    assert (report.lines, report.pairs) == (7, sum(len(row["documents"]) for row in lines()))
    network, tokenizer = AutoModelForSequenceClassification.from_pretrained(classifier).eval(), AutoTokenizer.from_pretrained(classifier)
    for row, scores in zip(lines(), scores_in(tmp_path / "scored.jsonl"), strict=True):
        for document, found in zip(row["documents"], scores, strict=True):
            batch = tokenizer(row["query"], document, return_tensors="pt", truncation=True, max_length=64)
            with torch.inference_mode():
                assert found == pytest.approx(float(network(**batch).logits[0, 0]), abs=1e-4)


def test_batches_change_no_score(classifier: Path, mined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score(mined, tmp_path / "one", [cross_encoder(str(classifier), batch_size=1)])
    monkeypatch.setattr("training.mining.score.LINES_AT_ONCE", 2)
    score(mined, tmp_path / "two", [cross_encoder(str(classifier), batch_size=32)])
    for one, two in zip(scores_in(tmp_path / "one"), scores_in(tmp_path / "two"), strict=True):
        assert one == pytest.approx(two, abs=1e-4)


def test_a_line_keeps_everything_and_gains_scores(classifier: Path, mined: Path, tmp_path: Path) -> None:
    written(mined, [{**row, "positives": ["d1"], "extra": "ção"} for row in lines(2)])
    score(mined, tmp_path / "scored.jsonl", [cross_encoder(str(classifier))])
    text = (tmp_path / "scored.jsonl").read_text(encoding="utf-8")
    for before, after in zip(mined.read_text(encoding="utf-8").splitlines(), map(json.loads, text.splitlines()), strict=True):
        assert {key: value for key, value in after.items() if key != "scores"} == json.loads(before)
    assert "ção" in text


def test_a_model_that_is_no_cross_encoder_is_an_error(tiny_model: Path, tiny_t5: Path, tmp_path: Path) -> None:
    for folder in (tiny_model, tiny_t5, make_classifier(tmp_path / "three", outputs=3)):
        with pytest.raises(ModelFormatError, match="not a cross-encoder"):
            cross_encoder(str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFormatError, match="cannot be loaded"):
        cross_encoder(str(tmp_path / "empty"))


def test_a_classifier_without_weights_or_positions_is_an_error(classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "torn").mkdir()
    for file in classifier.glob("*.json"):
        (tmp_path / "torn" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ModelFormatError, match="cannot be loaded"):
        cross_encoder(str(tmp_path / "torn"))
    with pytest.raises(ConfigError, match="max_length is 65"):
        cross_encoder(str(classifier), max_length=65)


def test_positions_behind_the_padding_id_are_not_counted() -> None:
    from transformers import XLMRobertaConfig

    config = XLMRobertaConfig(max_position_embeddings=66, pad_token_id=1)
    teachers._check_length("xlmr", 64, config)
    with pytest.raises(ConfigError, match="max_length is 65: expected at least 4 and at most 64"):
        teachers._check_length("xlmr", 65, config)


def test_an_unknown_teacher_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="no teacher"):
        cross_encoder("nobody/has-this-model")


# -- T5 rerankers -----------------------------------------------------------------------------------------------------


def test_a_t5_reranker_gives_the_log_probability_of_its_true_token(tiny_t5: Path, mined: Path) -> None:
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    teacher = mono_t5(str(tiny_t5), template=PROMPT, tokens=("▁não", "▁sim"), batch_size=3)
    found = teacher.score(list(read_mined(mined)))
    network, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(tiny_t5).eval(), AutoTokenizer.from_pretrained(tiny_t5)
    for row, scores in zip(lines(), found, strict=True):
        for document, one in zip(row["documents"], scores, strict=True):
            batch = tokenizer(PROMPT.format(query=row["query"], document=document), return_tensors="pt")
            with torch.inference_mode():
                logits = network(**batch, decoder_input_ids=torch.zeros(1, 1, dtype=torch.long)).logits[0, 0]
            assert one == pytest.approx(float(torch.log_softmax(logits[[3, 4]], 0)[1]), abs=1e-4) and one < 0


def test_of_a_prompt_that_is_too_long_only_the_document_is_cut(tiny_t5: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_t5)
    prompt = teachers._fitting_prompt(tokenizer, PROMPT, "a vacina", TEXTS[3], 14)
    assert prompt.startswith("Pergunta a vacina Documento lei e") and prompt.endswith(" Relevante")
    assert len(tokenizer(prompt)["input_ids"]) == 14
    assert teachers._fitting_prompt(tokenizer, PROMPT, "a vacina", "texto", 14) == "Pergunta a vacina Documento texto Relevante"
    assert teachers._fitting_prompt(tokenizer, PROMPT, "a vacina", "texto", 2) == "Pergunta a vacina Documento  Relevante"


def test_braces_in_texts_are_text(tiny_t5: Path) -> None:
    from transformers import AutoTokenizer

    prompt = teachers._fitting_prompt(AutoTokenizer.from_pretrained(tiny_t5), PROMPT, "{x} {0}", "{y}", 512)
    assert prompt == "Pergunta {x} {0} Documento {y} Relevante"


def test_a_wrong_prompt_token_or_network_is_an_error(tiny_t5: Path, tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"must hold \{query\} and \{document\}"):
        mono_t5(str(tiny_t5), template="Query: {query}")
    with pytest.raises(ConfigError, match="no token '▁false'"):
        mono_t5(str(tiny_t5))
    with pytest.raises(ModelFormatError, match="not an encoder with a decoder"):
        mono_t5(str(tiny_model))


# -- sparse models and runs -------------------------------------------------------------------------------------------


def test_a_sparse_teacher_gives_dot_products_and_encodes_each_document_once(mined: Path) -> None:
    encoder = HashingEncoder()
    found = SparseTeacher(encoder).score(list(read_mined(mined)))
    assert encoder.texts_encoded == 7 + len({text for row in lines() for text in row["documents"]})
    for row, scores in zip(lines(), found, strict=True):
        query = encoder.encode_query(row["query"])
        assert scores.tolist() == [query.dot(encoder.encode_query(text)) for text in row["documents"]]


def test_a_model_of_the_package_can_teach(tiny_model: Path, mined: Path, tmp_path: Path) -> None:
    score(mined, tmp_path / "scored.jsonl", [SparseTeacher(SpladeEncoder.load(tiny_model))])
    assert all(math.isfinite(value) and value >= 0 for row in scores_in(tmp_path / "scored.jsonl") for value in row)


def a_run() -> dict[str, dict[str, float]]:
    return {row["query_id"]: {doc_id: 1.5 * n - int(doc_id[1:]) for n, doc_id in enumerate(row["doc_ids"])} for row in lines()}


def test_a_run_gives_its_own_scores_and_none_that_it_does_not_have(mined: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "run.trec", a_run())
    score(mined, tmp_path / "scored.jsonl", [RunTeacher(tmp_path / "run.trec")])
    assert scores_in(tmp_path / "scored.jsonl") == [[a_run()[row["query_id"]][doc_id] for doc_id in row["doc_ids"]] for row in lines()]
    torn = a_run()
    del torn["q4"]["d5"]
    write_run(tmp_path / "torn.trec", torn)
    with pytest.raises(InputFileError, match=r"no score for document 'd5' of line 5 \(query 'q4'\)"):
        score(mined, tmp_path / "torn.jsonl", [RunTeacher(tmp_path / "torn.trec")])
    assert not (tmp_path / "torn.jsonl").exists()


def test_a_run_needs_ids(tmp_path: Path) -> None:
    write_run(tmp_path / "run.trec", a_run())
    written(tmp_path / "mined.jsonl", [{"query": "a", "documents": ["b", "c"]}])
    with pytest.raises(InputFileError, match='has no "query_id"'):
        score(tmp_path / "mined.jsonl", tmp_path / "scored.jsonl", [RunTeacher(tmp_path / "run.trec")])
    with pytest.raises(InputFileError, match="no such file"):
        RunTeacher(tmp_path / "absent.trec")


# -- scores that must not be --------------------------------------------------------------------------------------------


class Fixed:
    """A teacher that gives `value` for the last document of line 3 and 1.0 for all others."""

    def __init__(self, value: float, name: str = "fixed") -> None:
        self.name, self._value = name, value

    def score(self, lines: Sequence[MinedLine]) -> list[Scores]:
        return [np.array([1.0] * (len(line.documents) - 1) + [self._value if line.number == 3 else 1.0]) for line in lines]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_an_error_that_names_the_query(mined: Path, tmp_path: Path, value: float) -> None:
    with pytest.raises(InputError, match=r"fixed gave document 3 the score .*line 3 \(query 'q2'\)"):
        score(mined, tmp_path / "scored.jsonl", [Fixed(value)])


class Short(Fixed):
    def score(self, lines: Sequence[MinedLine]) -> list[Scores]:
        return [np.ones(len(line.documents) - 1) for line in lines]


def test_too_few_scores_are_an_error(mined: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 documents 1 scores"):
        score(mined, tmp_path / "scored.jsonl", [Short(1.0)])


# -- ensembles --------------------------------------------------------------------------------------------------------

rows = npst.arrays(np.float64, st.integers(2, 12), elements=st.floats(-50, 50, width=32))
# scores that differ, differ by 1/1024: a shift does not swallow them
spaced_rows = npst.arrays(np.float64, st.integers(2, 12), elements=st.integers(-50 * 1024, 50 * 1024).map(lambda n: n / 1024))


@given(rows, st.sampled_from(ENSEMBLES))
def test_one_teacher_alone_is_left_as_it_is(row: Scores, how: str) -> None:
    assert combined([row], how).tolist() == row.tolist()


@given(spaced_rows, st.floats(0.1, 10), st.floats(-5, 5))
def test_min_max_ignores_each_teachers_own_scale(row: Scores, factor: float, shift: float) -> None:
    other = np.random.default_rng(0).permutation(row)
    assert combined([row, other], "min_max") == pytest.approx(combined([factor * row + shift, other], "min_max"), abs=1e-6)


@given(rows)
def test_affine_scores_have_the_first_teachers_mean_and_spread_and_the_order_of_min_max(row: Scores) -> None:
    others = [np.random.default_rng(n).permutation(row) for n in range(2)]
    plain, moved = combined([row, *others], "min_max"), combined([row, *others], "affine")
    assert moved.mean() == pytest.approx(row.mean(), abs=1e-6)
    if plain.std() > 1e-6:
        assert moved.std() == pytest.approx(row.std(), abs=1e-6)
    low, high = np.argsort(plain)[[0, -1]]
    assert moved[low] <= moved[high] + 1e-9


def test_teachers_that_cancel_each_other_out_say_the_first_ones_mean() -> None:
    row = np.array([1.0, 2.0, 4.0, 7.0])
    turned = [np.roll(row, places) for places in range(4)]
    assert len(set(combined(turned, "min_max").tolist())) > 1  # constant but for rounding
    assert combined(turned, "affine") == pytest.approx(np.full(4, row.mean()))


@given(rows, st.sampled_from(["mean", "affine"]))
def test_teachers_that_agree_are_the_teacher(row: Scores, how: str) -> None:
    assert combined([row, row, row], how) == pytest.approx(row, abs=1e-6)


def test_ensembles_on_a_worked_example() -> None:
    one, two = np.array([3.0, 1.0, 2.0]), np.array([0.0, 10.0, 10.0])
    assert combined([one, two], "mean").tolist() == [1.5, 5.5, 6.0]
    assert combined([one, two], "min_max").tolist() == [0.5, 0.5, 0.75]
    assert combined([np.ones(3), two], "min_max").tolist() == [0.0, 0.5, 0.5]


def test_several_teachers_give_one_score_for_each_document(mined: Path, tmp_path: Path) -> None:
    sparse = SparseTeacher(HashingEncoder())
    write_run(tmp_path / "run.trec", a_run())
    score(mined, tmp_path / "scored.jsonl", [sparse, RunTeacher(tmp_path / "run.trec")], ensemble="mean")
    single = sparse.score(list(read_mined(mined)))
    for row, first, found in zip(lines(), single, scores_in(tmp_path / "scored.jsonl"), strict=True):
        other = np.array([a_run()[row["query_id"]][doc_id] for doc_id in row["doc_ids"]])
        assert found == pytest.approx(((first + other) / 2).tolist())


def test_no_teacher_and_an_unknown_ensemble_are_errors(mined: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no teacher"):
        score(mined, tmp_path / "scored.jsonl", [])
    with pytest.raises(ConfigError, match="'median' is not known"):
        score(mined, tmp_path / "scored.jsonl", [Fixed(1.0)], ensemble="median")


# -- resuming ---------------------------------------------------------------------------------------------------------


class Stopping(Fixed):
    def score(self, lines: Sequence[MinedLine]) -> list[Scores]:
        if lines[0].number > 4:
            raise KeyboardInterrupt
        return super().score(lines)


def test_a_resumed_scoring_writes_the_same_file_and_scores_no_line_twice(
    mined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.mining.score.LINES_AT_ONCE", 2)
    score(mined, tmp_path / "whole", [Fixed(2.0)])
    with pytest.raises(KeyboardInterrupt):
        score(mined, tmp_path / "scored.jsonl", [Stopping(2.0)])
    with pytest.raises(ConfigError, match="of another run"):
        score(mined, tmp_path / "scored.jsonl", [Fixed(2.0, name="other")], resume=True)
    report = score(mined, tmp_path / "scored.jsonl", [Fixed(2.0)], resume=True)
    assert (report.lines, report.resumed) == (7, 4)
    assert (tmp_path / "scored.jsonl").read_bytes() == (tmp_path / "whole").read_bytes()


def test_scores_of_an_earlier_teacher_are_replaced_and_counted(mined: Path, tmp_path: Path) -> None:
    score(mined, tmp_path / "one", [Fixed(2.0)])
    report = score(tmp_path / "one", tmp_path / "two", [Fixed(3.0)])
    assert report.replaced == 7 and scores_in(tmp_path / "two")[2][-1] == 3.0


# -- bad files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("not json", "line 2: not JSON"),
        ("[" * 100_000, "line 2: not JSON"),
        ('{"query": ' + "9" * 5000, "line 2: not JSON"),
        ("[]", 'line 2: expected an object with a "query"'),
        ('{"query": 3, "documents": ["a", "b"]}', 'line 2: expected an object with a "query"'),
        ('{"query": "a", "documents": ["a"]}', 'line 2: "documents" must be'),
        ('{"query": "a", "documents": ["a", null]}', 'line 2: "documents" must be'),
        ('{"query": "a"}', 'line 2: "documents" must be'),
        ('{"query": "a", "documents": ["a", "b"], "doc_ids": ["x"]}', 'line 2: "doc_ids" must be a list of 2'),
        ('{"query": "a", "documents": ["a", "b"], "query_id": 7}', 'line 2: "query_id" must be'),
    ],
)
def test_a_broken_line_is_named_before_anything_is_scored(tmp_path: Path, bad: str, message: str) -> None:
    path = tmp_path / "mined.jsonl"
    path.write_text(json.dumps(lines(1)[0]) + "\n" + bad + "\n", encoding="utf-8")
    with pytest.raises(InputFileError, match=message):
        score(path, tmp_path / "scored.jsonl", [Fixed(1.0)])
    assert [file.name for file in tmp_path.iterdir()] == ["mined.jsonl"]


def test_texts_that_cannot_be_encoded_and_missing_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "mined.jsonl").write_text('{"query": "a", "documents": ["a", "\\ud800"]}\n')
    with pytest.raises(TextError, match="line 1"):
        score(tmp_path / "mined.jsonl", tmp_path / "scored.jsonl", [Fixed(1.0)])
    (tmp_path / "mined.jsonl").write_text("")
    for name in ("mined.jsonl", "absent.jsonl"):
        with pytest.raises(InputFileError):
            score(tmp_path / name, tmp_path / "scored.jsonl", [Fixed(1.0)])
