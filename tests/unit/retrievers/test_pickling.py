"""Retrievers and vector stores in pickles and copies, and what traces and dumps tell of them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps

from splade_ptbr_connectors.langchain import SpladeRetriever, SpladeSparseEmbeddings, SpladeVectorStore
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.credentials import Credentials
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import stand_in

from .conftest import make_store

pytest.importorskip("numba")
KEY = "chave-muito-secreta"


@pytest.fixture(params=["edge", "numba"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(f"{request.param}:{tmp_path}/store", encoder=HashingEncoder()) as opened:
        opened.upsert_vectors(make_store().scan())
        yield opened


@pytest.mark.parametrize("how", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])  # noqa: S301 - our own bytes
def test_a_retriever_and_a_vector_store_are_the_same_afterwards(store: Store, how: Any) -> None:
    retriever = SpladeRetriever(store=store, k=3, filter={"metadata.subject": "saúde"}, title=True, score_key="nota", tags=["um"])
    again = how(retriever)
    assert again is not retriever and again == retriever and again.invoke("vacina febre") == retriever.invoke("vacina febre") != []
    vectors = SpladeVectorStore(store, content="passage", relevance_pivot=2.0)
    twin = how(vectors)
    assert twin is not vectors and vars(twin) == vars(vectors)
    assert twin.similarity_search("vacina") == vectors.similarity_search("vacina") != []
    assert how(vectors.as_retriever()).invoke("vacina") == vectors.as_retriever().invoke("vacina")
    embeddings = SpladeSparseEmbeddings(HashingEncoder())
    assert how(embeddings).embed_query("vacina") == embeddings.embed_query("vacina")


class Tracer(BaseCallbackHandler):
    """Remembers all that a trace is told of a retriever."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_retriever_start(self, *arguments: Any, **more: Any) -> None:
        self.told.append((arguments, more))


def test_secrets_are_in_no_pickle_dump_repr_or_trace() -> None:
    with stand_in() as server:
        server.api_key, tracer = KEY, Tracer()
        credentials = Credentials(api_key=KEY)  # type: ignore[arg-type]
        with pytest.warns(UserWarning), open_store(f"qdrant+{server.url}/docs", encoder=HashingEncoder(), credentials=credentials) as store:
            vectors = SpladeVectorStore(store)
            for retriever in (SpladeRetriever(store=store), vectors.as_retriever()):
                assert retriever.invoke("vacina", config={"callbacks": [tracer]}) == []
                shown = [repr(retriever), str(retriever), dumps(retriever), repr(pickle.dumps(retriever)), repr(retriever._get_ls_params())]
                assert not [each for each in shown if KEY in each]
            assert not [each for each in (repr(vectors), dumps(vectors), repr(pickle.dumps(vectors))) if KEY in each]
        assert len(tracer.told) == 2 and KEY not in repr(tracer.told)
