"""What the page is told of a store's hits: the store's own scores, words that add up to them, and texts in pieces that lose nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors import Store, explain_hits, ingest, open_store
from splade_ptbr_connectors.encoding.explain_words import printable
from splade_ptbr_connectors.hits import Mark
from splade_ptbr_connectors.play import answers

HOSTILE = '<script>alert(1)</script> <img src=x onerror="alert(1)"> recurso \u202eda multa\u202c \x1b[31m & 😀 multa'
LONG = " ".join(f"O artigo {n} desta lei trata de outro assunto, sem relação com o anterior." for n in range(300))
DOCUMENTS = [
    {"_id": "multa", "title": "Multas", "text": "O prazo para recorrer da multa é de 30 dias, contados da infração."},
    {"_id": "febre", "title": "", "text": "Febre alta e dor de cabeça pedem hidratação e repouso."},
    {"_id": "mau\u202e", "title": "<b>Recurso</b> 😀 de multa", "text": HOSTILE},
    {"_id": "lei", "title": "Lei", "text": f"{LONG} A carência do benefício é de doze meses. {LONG}"},
]


@pytest.fixture(scope="module", params=["edge", "numba", "whole"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Of each engine in this process, and one that keeps long texts whole."""
    engine = "edge" if request.param == "whole" else request.param
    if engine == "numba":
        pytest.importorskip("numba")
    passages = False if request.param == "whole" else None
    folder = tmp_path_factory.mktemp("play") / request.param
    with open_store(f"{engine}:{folder}", encoder="mini", passages=passages) as opened:
        ingest(DOCUMENTS, opened)
        yield opened


@given(
    text=st.text(st.sampled_from("aá😀\u202e\n<"), max_size=30),
    spans=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5),
    part=st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_pieces_are_the_whole_text_and_marked_where_a_word_is(text: str, spans: list[tuple[int, int]], part: tuple[int, int]) -> None:
    marks = sorted(Mark(*sorted(min(each, len(text)) for each in span), number, 1.0) for number, span in enumerate(spans))
    start, end = sorted(min(each, len(text)) for each in part)
    found = list(answers.pieces(text, marks, start, end))
    assert "".join(piece for piece, _ in found) == printable(text[start:end])
    assert all(piece for piece, _ in found)
    marked = [word is not None for piece, word in found for _ in piece]
    assert marked == [any(mark.start <= place < mark.end for mark in marks) for place in range(start, end)]


@pytest.mark.parametrize("query", ["até quando posso recorrer de uma multa?", "carência", "febre", "recurso multa 😀"])
def test_hits_are_the_stores_and_their_words_add_up(store: Store, query: str) -> None:
    answer = answers.search(store, query, 3)
    found = store.search(query, 3)
    assert [(hit["doc_id"], hit["score"]) for hit in answer["hits"]] == [(printable(hit.doc_id), hit.score) for hit in found]
    for hit, whole, explanation in zip(answer["hits"], found, explain_hits(store, query, found), strict=True):
        assert explanation is not None
        assert [word["word"] for word in hit["words"]] == [match.word for match in explanation.words]
        assert sum(word["contribution"] for word in hit["words"]) == pytest.approx(hit["score"], rel=1e-5)
        marked = [(piece, word) for piece, word in [*hit["title"], *hit["text"]] if word is not None]
        text, title = whole.payload["text"], whole.payload.get("title", "")
        forms = [{text[a:b] for a, b in match.places} | {title[a:b] for a, b in match.title_places} for match in explanation.words]
        assert all(piece in forms[word] for piece, word in marked)
        assert {word for _, word in marked} >= {n for n, word in enumerate(hit["words"]) if word["source"] == "title"}
    json.dumps(answer, allow_nan=False)


def test_what_a_query_becomes_is_its_vector(store: Store) -> None:
    query = "até quando posso recorrer de uma multa?"
    answer = answers.search(store, query, 1)
    weights = [word["weight"] for word in answer["query"]]
    assert sum(weights) == pytest.approx(store.encoder.encode_query(query).weights.sum(), rel=1e-5)
    assert {word["origin"] for word in answer["query"]} == {"word", "thesaurus", "concepts"}
    assert {"recorrer", "multa"} <= {word["word"] for word in answer["query"] if word["origin"] == "word"}
    [hit] = answer["hits"]
    assert {word["word"]: word["origin"] for word in hit["words"]}["infração"] == "thesaurus"


def test_of_a_long_text_the_part_that_matched_is_shown(store: Store) -> None:
    [hit] = [hit for hit in answers.search(store, "carência do benefício", 4)["hits"] if hit["doc_id"] == "lei"]
    text = "".join(piece for piece, _ in hit["text"])
    assert "carência" in text and len(text) <= answers.SHOWN_CHARACTERS
    if store.passage_settings is None:
        assert (hit["passage"], hit["before"], hit["behind"]) == (None, True, True)
    else:
        assert 0 < hit["passage"]["number"] < hit["passage"]["of"] and not hit["before"]


def test_hostile_texts_are_told_as_they_are_but_for_controls(store: Store) -> None:
    hit = next(hit for hit in answers.search(store, "recurso multa", 3)["hits"] if hit["doc_id"] == "mau ")
    text = "".join(piece for piece, _ in hit["text"])
    assert text == HOSTILE.replace("\u202e", " ").replace("\u202c", " ").replace("\x1b", " ")
    assert "".join(piece for piece, _ in hit["title"]) == "<b>Recurso</b> 😀 de multa"


def test_nothing_asked_and_nothing_found(store: Store) -> None:
    for query in ("", "  ", "😀"):
        answer = answers.search(store, query, 3)
        assert (answer["query"], answer["hits"]) == ([], [])


def test_about_a_store(store: Store) -> None:
    found = answers.about(store)
    assert (found["url"], found["model"], found["documents"]) == (store.url, "mini", len(DOCUMENTS))
    assert found["fingerprint"] == store.encoder.fingerprint
