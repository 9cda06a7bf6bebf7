"""explain_hits(): the words of the passage that was found add up to the score that the engine gave it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import SparseVector, SpladeEncoder, explain_hits, ingest, open_store
from splade_ptbr_connectors.demo.sample import read_corpus
from splade_ptbr_connectors.encoding.explain_words import marked
from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.stores.base import Hit, Store

pytest.importorskip("numba")
MINI = SpladeEncoder.load("mini-bert")
SAMPLE = list(read_corpus())[:40]
LONG = [
    {"_id": f"longo{n}", "title": SAMPLE[n]["title"], "text": "\n\n".join(each["text"] for each in SAMPLE[n : n + 5])}
    for n in range(0, 40, 5)
]
WORDS = sorted({word for record in SAMPLE for word in f"{record['title']} {record['text']}".split()})
queries = st.lists(st.sampled_from(WORDS) | st.sampled_from(["até quando", "multas", "recorrer", "prazos"]), min_size=1, max_size=8).map(
    " ".join
)


@pytest.fixture(scope="module", params=["edge", "numba"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    url, passages = f"{request.param}:{tmp_path_factory.mktemp('stores')}/store", {"passage_tokens": 64, "overlap": 16}
    with open_store(url, encoder=MINI, passages=passages) as opened:
        ingest([*LONG, *SAMPLE[:10]], opened)
        yield opened


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=queries, group=st.booleans())
def test_words_add_up_to_the_score_of_the_engine(store: Store, query: str, group: bool) -> None:
    vector = MINI.encode_query(query)
    hits = store.search(query, 20, group=group)
    for hit, explanation in zip(hits, explain_hits(store, query, hits), strict=True):
        assert explanation is not None
        entry = store.get([hit.doc_id])[hit.doc_id]
        stored = entry.vectors[hit.passage.number]
        allowed = store.score_tolerance(vector, stored) + 1e-6 * hit.score
        assert sum(match.contribution for match in explanation.words) == pytest.approx(hit.score, abs=allowed)
        for match in explanation.words:
            for start, end in match.places:
                assert hit.passage.start <= start < end <= hit.passage.end
                assert hit.payload["text"][start:end].casefold() == match.word.casefold()
        shown = marked(hit.passage.text, explanation.places, start=hit.passage.start)
        assert shown.count("**") == 2 * len(explanation.places)


def test_what_a_hit_does_not_say_is_looked_up(store: Store) -> None:
    query = LONG[3]["text"][-60:]
    [hit] = store.search(query, 1, filter={"title": LONG[3]["title"]})
    [found, gone] = explain_hits(store, query, [Hit(hit.doc_id, hit.score, {}), Hit("nunca", 1.0, {})])
    assert gone is None
    assert [found] == explain_hits(store, query, [hit])
    [ready] = explain_hits(store, MINI.encode_query(query), [hit])
    assert ready is not None and found is not None and ready.score == found.score
    assert all(match.query_word is None for match in ready.words)


def test_weights_are_those_that_the_engine_keeps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hits = store.search("prazo da vacina", 1)
    [whole] = explain_hits(store, "prazo da vacina", hits)
    monkeypatch.setattr(store, "quantized", lambda vector: SparseVector(vector.term_ids, vector.weights / 2))
    [halved] = explain_hits(store, "prazo da vacina", hits)
    assert whole is not None and halved is not None and whole.score > 0
    assert halved.score == pytest.approx(whole.score / 2)


def test_arguments_in_another_order_or_form_are_named(store: Store) -> None:
    hits = store.search("multas", top_k=2)
    with pytest.raises(ConfigError, match="store is 'multas': it must be an open store"):
        explain_hits("multas", store, hits)  # type: ignore[arg-type]
    for wrong in (hits[0], [hit.doc_id for hit in hits], "multas"):
        with pytest.raises(ConfigError, match="must be a list of hits"):
            explain_hits(store, "multas", wrong)  # type: ignore[arg-type]
