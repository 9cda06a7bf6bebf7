"""Folders that sentence-transformers saved: its vectors, whatever the settings, or an error that names the setting."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import MLMTransformer, Router, SparseStaticEmbedding, SpladePooling

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.errors import ModelFormatError
from tests.conftest import WORDS

from .tiny import dense

MODEL, TRANSFORMER, POOLING = "config_sentence_transformers.json", "sentence_bert_config.json", "1_SpladePooling/config.json"
TABLE, NETWORK = "query_0_SparseStaticEmbedding", "document_0_MLMTransformer"
TEXTS = ["imposto de renda", "Declarar o IMPOSTO?", "São Paulo e o rio", " ".join(WORDS), "xyz 12", "renda renda renda"]


@pytest.fixture(scope="module")
def saved(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model followed by SpladePooling."""
    folder = tmp_path_factory.mktemp("st") / "plain"
    SparseEncoder(modules=[MLMTransformer(str(tiny_model)), SpladePooling("max")], device="cpu").save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def routed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for documents alone; queries by a table of weights, with a row for every token."""
    folder, network = tmp_path_factory.mktemp("st") / "router", MLMTransformer(str(tiny_model))
    weights = torch.rand(len(network.tokenizer), generator=torch.Generator().manual_seed(0)) * 3
    table = SparseStaticEmbedding(tokenizer=network.tokenizer, weight=weights)
    router = Router.for_query_document(query_modules=[table], document_modules=[network, SpladePooling("max", "log1p_relu")])
    SparseEncoder(modules=[router], device="cpu").save_pretrained(str(folder))
    return folder


@pytest.fixture
def plain(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "model")


@pytest.fixture
def router(routed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(routed, tmp_path / "model")


def edit(folder: Path, file: str, **changes: Any) -> Path:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return folder


def assert_equal_vectors(folder: Path, texts: list[str] = TEXTS) -> SpladeEncoder:
    """Both sides of both libraries, special tokens kept and long texts cut."""
    theirs = SparseEncoder(str(folder), device="cpu")
    ours = SpladeEncoder.load(folder, drop_special_tokens=False, on_long="truncate")
    sides = {"query": (ours.encode_queries, theirs.encode_query), "document": (ours.encode_documents, theirs.encode_document)}
    for side, (encode, encode_there) in sides.items():
        rows = encode_there(texts, convert_to_sparse_tensor=False, show_progress_bar=False).cpu().numpy()
        for text, row, vector in zip(texts, rows, encode(texts), strict=True):
            expected = np.pad(row, (0, ours.vocab_size - len(row)))
            np.testing.assert_allclose(dense(vector, ours.vocab_size), expected, atol=1e-5, err_msg=f"{side}: {text}")
    return ours


SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing": (MODEL, {}),
    "prompts": (MODEL, {"prompts": {"query": "banco: ", "document": "dia", "passage": "casa: "}, "default_prompt_name": "passage"}),
    "one prompt": (MODEL, {"prompts": {"query": "banco de ", "document": None}}),
    "lower case": (TRANSFORMER, {"do_lower_case": True}),
    "a length": (TRANSFORMER, {"max_seq_length": 9}),
    "lengths per side": (TRANSFORMER, {"query_length": 8, "document_length": 32}),
    "few terms": (MODEL, {"max_active_dims": 5}),
    "sum": (POOLING, {"pooling_strategy": "sum"}),
    "double log": (POOLING, {"activation_function": "log1p_relu"}),
    "in pieces": (POOLING, {"chunk_size": 3}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_taken_over(plain: Path, name: str) -> None:
    file, changes = SETTINGS[name]
    assert_equal_vectors(edit(plain, file, **changes))


def test_all_of_them_together(plain: Path) -> None:
    for name in ("prompts", "lower case", "lengths per side", "few terms"):
        edit(plain, SETTINGS[name][0], **SETTINGS[name][1])
    assert_equal_vectors(plain)


def test_lower_case_lowers_the_prompt_too(plain: Path) -> None:
    edit(plain, TRANSFORMER, do_lower_case=True)
    assert_equal_vectors(edit(plain, MODEL, prompts={"query": "BANCO: ", "document": "Dia "}))


def test_a_prompt_is_repeated_in_every_window(plain: Path) -> None:
    edit(plain, MODEL, prompts={"query": "banco: ", "document": "banco: "})
    encoder = SpladeEncoder.load(plain, max_length_document=12)
    words = ["renda"] * 6 + ["casa"] * 6
    without = SpladeEncoder.load(plain, prompt_document="", max_length_document=12)
    assert encoder.fingerprint != without.fingerprint
    whole = dense(encoder.encode_document(" ".join(words)), encoder.vocab_size)
    room, step = 8, 6  # 12 less [CLS], [SEP], "banco" and ":"; a quarter of it overlaps
    parts = [dense(without.encode_document("banco: " + " ".join(words[s : s + room])), encoder.vocab_size) for s in (0, step)]
    np.testing.assert_allclose(whole, np.maximum(*parts), atol=1e-5)
    assert encoder.report.windows == 2


def test_settings_without_influence_are_accepted(plain: Path) -> None:
    edit(plain, MODEL, similarity_fn_name="dot", requirements={"sentence-transformers": ">=5"}, prompts={})
    edit(plain, TRANSFORMER, unpad_inputs=False, model_args={"torch_dtype": "float32"}, tokenizer_args={}, config_args=None)
    SpladeEncoder.load(plain, preload=False)


UNKNOWN: list[tuple[str, str, Any]] = [
    (MODEL, "instruction", "x"),
    (MODEL, "similarity_fn_name", "cosine"),
    (MODEL, "max_active_dims", 0),
    (MODEL, "max_active_dims", "5"),
    (MODEL, "truncate_dim", 64),
    (MODEL, "prompts", ["x"]),
    (MODEL, "prompts", {"query": 3}),
    (MODEL, "model_type", "SentenceTransformer"),
    (TRANSFORMER, "lemmatize", True),
    (TRANSFORMER, "do_lower_case", "yes"),
    (TRANSFORMER, "max_seq_length", "64"),
    (TRANSFORMER, "max_seq_length", 2),
    (TRANSFORMER, "max_seq_length", -1),
    (TRANSFORMER, "query_length", 8.5),
    (TRANSFORMER, "query_expansion", {"length": 32}),
    (TRANSFORMER, "transformer_task", "feature-extraction"),
    (TRANSFORMER, "modality_config", {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}),
    (TRANSFORMER, "processing_kwargs", {"text": {"max_length": 8}}),
    (TRANSFORMER, "tokenizer_name_or_path", "another"),
    (TRANSFORMER, "tokenizer_args", {"do_lower_case": True}),
    (TRANSFORMER, "config_args", {"num_hidden_layers": 1}),
    (TRANSFORMER, "model_kwargs", {"ignore_mismatched_sizes": True}),
    (POOLING, "temperature", 0.5),
    (POOLING, "pooling_strategy", "mean"),
    (POOLING, "activation_function", "gelu"),
]


@pytest.mark.parametrize(("file", "key", "value"), UNKNOWN)
def test_every_other_setting_is_refused_by_name(plain: Path, file: str, key: str, value: Any) -> None:
    with pytest.raises(ModelFormatError) as raised:
        SpladeEncoder.load(edit(plain, file, **{key: value}), preload=False)
    named = "max_length_query" if value == 2 else key  # too short to hold a text, which shows later
    assert f": {named}" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", ["512", [512], True])
def test_a_tokenizer_length_of_another_type(plain: Path, value: object) -> None:
    (plain / TRANSFORMER).unlink()
    with pytest.raises(ModelFormatError, match="model_max_length: Input should be"):
        SpladeEncoder.load(edit(plain, "tokenizer_config.json", model_max_length=value), preload=False)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"a": 1}', "[1]", '[{"path": ""}]', '[{"type": 3}]', '[{"type": "x.Y", "evil": 1}]'])
def test_a_broken_list_of_modules(plain: Path, text: str) -> None:
    (plain / "modules.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelFormatError, match=r"modules\.json") as raised:
        SpladeEncoder.load(plain, preload=False)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("file", [MODEL, TRANSFORMER, POOLING, "config.json", "tokenizer_config.json"])
def test_files_nested_too_deep(plain: Path, file: str) -> None:
    if file == "tokenizer_config.json":
        (plain / TRANSFORMER).unlink()
    (plain / file).write_text('{"a":' * 100_000 + "1" + "}" * 100_000, encoding="utf-8")
    with pytest.raises(ModelFormatError, match="nested more than"):
        SpladeEncoder.load(plain, preload=False)


@pytest.mark.parametrize("path", ["../other", "/etc", "a/../../b"])
def test_modules_outside_the_folder(plain: Path, path: str) -> None:
    modules = json.loads((plain / "modules.json").read_text(encoding="utf-8"))
    modules[1]["path"] = path
    (plain / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    with pytest.raises(ModelFormatError, match="own folder"):
        SpladeEncoder.load(plain, preload=False)


def test_a_network_in_a_subfolder(plain: Path) -> None:
    modules = json.loads((plain / "modules.json").read_text(encoding="utf-8"))
    modules[0]["path"] = "0_MLMTransformer"
    (plain / "0_MLMTransformer").mkdir()
    for file in plain.iterdir():
        if file.is_file() and file.name not in ("modules.json", MODEL, "README.md"):
            file.rename(plain / "0_MLMTransformer" / file.name)
    (plain / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    assert_equal_vectors(plain)


class TestRouter:
    """Queries by a table of weights."""

    def test_vectors_are_equal(self, router: Path) -> None:
        ours = assert_equal_vectors(router, [*TEXTS, " ".join(WORDS * 3)])
        assert ours.config.query.kind == "table"

    def test_special_tokens_weigh_nothing_by_default(self, router: Path) -> None:
        theirs = SparseEncoder(str(router), device="cpu")
        row = theirs.encode_query(["imposto € renda"], convert_to_sparse_tensor=False, show_progress_bar=False).cpu().numpy()[0]
        unknown = theirs.tokenizer.unk_token_id
        assert row[unknown] > 0
        row[unknown] = 0
        ours = SpladeEncoder.load(router)
        np.testing.assert_allclose(dense(ours.encode_query("imposto € renda"), ours.vocab_size), row, atol=1e-6)

    def test_with_the_network_at_the_top(self, router: Path) -> None:
        """As the models of OpenSearch lie."""
        config = json.loads((router / "router_config.json").read_text(encoding="utf-8"))
        for file in (router / NETWORK).iterdir():
            file.rename(router / file.name)
        text = json.dumps(config).replace(json.dumps(NETWORK), '""')
        (router / "router_config.json").write_text(text, encoding="utf-8")
        assert_equal_vectors(router)

    def test_prompts_and_few_terms(self, router: Path) -> None:
        assert_equal_vectors(edit(router, MODEL, prompts={"query": "banco: ", "document": "dia "}, max_active_dims=4))

    def test_a_network_with_spare_rows(self, router: Path) -> None:
        from transformers import AutoModelForMaskedLM

        model = AutoModelForMaskedLM.from_pretrained(router / NETWORK)
        model.resize_token_embeddings(model.config.vocab_size + 7, mean_resizing=False)
        model.save_pretrained(router / NETWORK)
        assert_equal_vectors(router)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
    def test_an_export_is_the_same_model(self, router: Path, tmp_path: Path) -> None:
        ours = SpladeEncoder.load(router)
        theirs = SpladeEncoder.load(ours.export_onnx(tmp_path / "exported"))
        assert (theirs.runtime.name, theirs.fingerprint) == ("onnx", ours.fingerprint)
        assert list(theirs.encode_queries(TEXTS)) == list(ours.encode_queries(TEXTS))

    def test_the_table_is_part_of_the_fingerprint(self, router: Path) -> None:
        before = SpladeEncoder.load(router, preload=False).fingerprint
        table = router / TABLE / "model.safetensors"
        save_file({"weight": load_file(table)["weight"] + 1}, table)
        assert SpladeEncoder.load(router, preload=False).fingerprint != before

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            (lambda w: {"weight": w - 1.5}, "weights below 0"),
            (lambda w: {"weight": w / 0}, "finite"),
            (lambda w: {"weight": torch.cat([w, w])}, "entries"),
            (lambda w: {"weight": w.view(1, -1)}, "entries"),
            (lambda w: {"other": w}, "entries"),
        ],
    )
    def test_a_table_that_cannot_be_used(self, router: Path, weights: Callable[[torch.Tensor], dict], message: str) -> None:
        table = router / TABLE / "model.safetensors"
        save_file(weights(load_file(table)["weight"]), table)
        with pytest.raises(ModelFormatError, match=message):
            SpladeEncoder.load(router, preload=False)

    def test_a_table_that_is_missing_or_broken(self, router: Path) -> None:
        table = router / TABLE / "model.safetensors"
        table.write_bytes(table.read_bytes()[:30])
        with pytest.raises(ModelFormatError, match="broken or incomplete"):
            SpladeEncoder.load(router, preload=False)
        table.unlink()
        with pytest.raises(ModelFormatError, match="its table of query weights"):
            SpladeEncoder.load(router, preload=False)

    def test_tokenizers_that_differ(self, router: Path) -> None:
        file = router / TABLE / "tokenizer.json"
        file.write_text(file.read_text(encoding="utf-8").replace('"lowercase": false', '"lowercase": true'), encoding="utf-8")
        with pytest.raises(ModelFormatError, match="must share one"):
            SpladeEncoder.load(router, preload=False)

    def test_a_text_rule_for_documents_alone(self, router: Path) -> None:
        with pytest.raises(ModelFormatError, match="do_lower_case"):
            SpladeEncoder.load(edit(router, f"{NETWORK}/{TRANSFORMER}", do_lower_case=True), preload=False)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"structure": {"document": [NETWORK, "document_1_SpladePooling"]}}, "SparseStaticEmbedding for them"),
            ({"structure": {"query": [TABLE], "document": [TABLE]}}, "lists SparseStaticEmbedding"),
            ({"structure": {"query": ["../other"], "document": [NETWORK]}}, "names ''"),
            ({"structure": 3}, "structure"),
            ({"types": {TABLE: "evil.SparseStaticEmbedding"}}, "code of their own"),
            ({"parameters": {"route_mappings": {"('query', None)": "document"}}}, "route_mappings"),
            ({"fallback": True}, "fallback"),
        ],
    )
    def test_other_routes_are_refused(self, router: Path, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ModelFormatError, match=message) as raised:
            SpladeEncoder.load(edit(router, "router_config.json", **changes), preload=False)
        assert "\n" not in str(raised.value)

    def test_a_setting_of_the_table_that_is_not_known(self, router: Path) -> None:
        with pytest.raises(ModelFormatError, match=r"config\.json: path: .*'idf\.json'"):
            SpladeEncoder.load(edit(router, f"{TABLE}/config.json", path="idf.json"), preload=False)
