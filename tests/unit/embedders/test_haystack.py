"""Haystack's components give the encoder's vectors, alone, in a pipeline, and in one that was written down."""

from __future__ import annotations

import pytest

pytest.importorskip("haystack")

from haystack import Document, Pipeline
from haystack.dataclasses import SparseEmbedding

from splade_ptbr_connectors import SparseVector, SpladeEncoder
from splade_ptbr_connectors.errors import ConfigError, TextError
from splade_ptbr_connectors.haystack import SpladeDocumentEmbedder, SpladeTextEmbedder
from tests.support.encoders import HashingEncoder
from tests.support.pages import run_block

ENCODER = HashingEncoder()
DOCUMENTS = [Document(content="prazo da multa", meta={"title": "Multas", "ano": 3}), Document(content="vacina"), Document(content="")]


@pytest.fixture(autouse=True)
def no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haystack.telemetry._telemetry.telemetry", None)


def vector(embedding: SparseEmbedding | None) -> SparseVector:
    assert embedding is not None
    return SparseVector(embedding.indices, embedding.values)


async def test_a_query_and_documents_get_the_encoders_vectors() -> None:
    text, documents = SpladeTextEmbedder(ENCODER), SpladeDocumentEmbedder(ENCODER)
    for found in (text.run(text="prazo"), await text.run_async(text="prazo")):
        assert vector(found["sparse_embedding"]) == ENCODER.encode_query("prazo")
    for result in (documents.run(documents=DOCUMENTS), await documents.run_async(documents=DOCUMENTS)):
        embedded = result["documents"]
        assert [vector(each.sparse_embedding) for each in embedded] == list(ENCODER.encode_documents([d.content or "" for d in DOCUMENTS]))
        assert [(each.id, each.content, each.meta) for each in embedded] == [(each.id, each.content, each.meta) for each in DOCUMENTS]
    assert all(each.sparse_embedding is None for each in DOCUMENTS)  # they are copied
    assert documents.run(documents=[]) == {"documents": []}


def test_fields_are_encoded_in_front_of_the_content() -> None:
    embedder = SpladeDocumentEmbedder(ENCODER, meta_fields_to_embed=["title", "ano", "none"], embedding_separator=" ")
    found = embedder.run(documents=DOCUMENTS[:2])["documents"]
    assert [vector(each.sparse_embedding) for each in found] == list(ENCODER.encode_documents(["Multas 3 prazo da multa", "vacina"]))


def test_a_pipeline_that_was_written_down_gives_the_same() -> None:
    encoder = SpladeEncoder.load("mini-lexico", max_active_terms_document=5)
    pipeline = Pipeline()
    pipeline.add_component("query", SpladeTextEmbedder(encoder))
    pipeline.add_component("documents", SpladeDocumentEmbedder(encoder, ["title"], " "))
    inputs = {"query": {"text": "recorrer de multa"}, "documents": {"documents": DOCUMENTS[:2]}}
    expected = pipeline.run(inputs)
    assert Pipeline.loads(pipeline.dumps(), allowed_modules=["splade_ptbr_connectors.haystack"]).run(inputs) == expected
    assert 0 < len(vector(expected["documents"]["documents"][0].sparse_embedding)) <= 5


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="has no text in its content"):
        SpladeDocumentEmbedder(ENCODER).run(documents=[Document(content=None)])
    with pytest.raises(TextError):
        SpladeTextEmbedder(ENCODER).run(text=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="encoder is None"):
        SpladeTextEmbedder(None)  # type: ignore[arg-type]


def test_what_the_page_shows_runs(capsys: pytest.CaptureFixture[str]) -> None:
    run_block("docs/encoders.md", "haystack")
    out = capsys.readouterr().out
    assert len(out.split()) == 2 and "0" not in out.split()
