"""The methods of fastembed give the encoder's vectors."""

from __future__ import annotations

from types import GeneratorType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import models

from splade_ptbr_connectors import SparseVector
from splade_ptbr_connectors.errors import ConfigError, TextError
from splade_ptbr_connectors.fastembed import SparseEmbedding, SparseTextEmbedding
from tests.support.encoders import HashingEncoder
from tests.support.pages import run_block

ENCODER = HashingEncoder()
MODEL = SparseTextEmbedding(ENCODER)


@given(st.lists(st.text("prazo da multa "), max_size=5))
def test_every_method_gives_one_embedding_per_text_in_order(texts: list[str]) -> None:
    expected = [vector.to_dict() for vector in ENCODER.encode_documents(texts)]
    for method in (MODEL.embed, MODEL.passage_embed, MODEL.query_embed):
        found = list(method(text for text in texts))
        assert [each.as_dict() for each in found] == expected
        assert [SparseVector(**renamed(each)).to_dict() for each in found] == expected
    assert [each.as_dict() for text in texts for each in MODEL.embed(text)] == expected  # one text is not a list of letters


def renamed(embedding: SparseEmbedding) -> dict[str, object]:
    return {"term_ids": embedding.as_object()["indices"], "weights": embedding.as_object()["values"]}


def test_queries_are_encoded_as_queries() -> None:
    encoder = HashingEncoder()
    list(SparseTextEmbedding(encoder).query_embed(["a"]))
    assert encoder.calls == {"encode_queries": 1}


def test_documents_are_read_as_they_are_given_out() -> None:
    stream = (str(n) for n in range(1_000_000))
    assert isinstance(stream, GeneratorType) and len([next(MODEL.embed(stream)) for _ in range(2)]) == 2
    assert int(next(stream)) < 1_000


def test_embeddings_go_to_qdrant_and_back() -> None:
    [embedding] = MODEL.embed("prazo da multa")
    point = models.SparseVector(**{name: array.tolist() for name, array in embedding.as_object().items()})
    assert SparseVector.from_qdrant(point) == ENCODER.encode_query("prazo da multa")
    assert SparseEmbedding.from_dict(embedding.as_dict()).as_dict() == embedding.as_dict()
    assert SparseEmbedding.from_dict({}).as_dict() == {}
    assert (embedding.values.dtype, embedding.indices.dtype) == ("float32", "int32")


def test_a_model_is_loaded_by_its_name() -> None:
    model = SparseTextEmbedding("mini-lexico")
    assert model.model_name == "mini-lexico" and next(model.query_embed("multa")).as_dict()
    assert repr(model) == "SparseTextEmbedding('mini-lexico')"


def test_bad_arguments() -> None:
    with pytest.raises(ConfigError, match="parallel is 2"):
        MODEL.embed(["a"], parallel=2)
    with pytest.raises(ConfigError, match="encoder is 3: it must be an encoder"):
        SparseTextEmbedding(3)  # type: ignore[arg-type]
    with pytest.raises(TextError):
        list(MODEL.embed([3]))  # type: ignore[list-item]


def test_what_the_page_shows_runs(capsys: pytest.CaptureFixture[str]) -> None:
    run_block("docs/encoders.md", "fastembed")
    out = capsys.readouterr().out
    assert "{" in out
