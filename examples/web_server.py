"""A search service with FastAPI. Each process opens the store once, when it starts, and closes it when it ends.

    pip install ".[numba]" fastapi uvicorn
    python examples/web_server.py                                               # fills the store
    uvicorn --app-dir examples web_server:app --workers 2                       # serves it
    curl --get http://127.0.0.1:8000/search --data-urlencode "q=contestar multa"

A numba: store is read by any number of processes; with an edge: store there can be one worker only.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request

from splade_ptbr_connectors import Store, ingest, open_store

URL = os.environ.get("STORE_URL", "numba:web.store")
DOCUMENTS = [
    {"_id": "multas", "title": "Multas de trânsito", "text": "O prazo para recorrer da infração é de 30 dias.", "assunto": "trânsito"},
    {"_id": "cnh", "title": "Carteira de motorista", "text": "A carteira vale dez anos para quem tem menos de 50.", "assunto": "trânsito"},
    {"_id": "bolo", "title": "Bolo de fubá", "text": "Misture o fubá, o leite e os ovos e asse por 40 minutos.", "assunto": "culinária"},
]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The store is opened in each worker, after the fork, and not anew for each request."""
    app.state.store = open_store(URL, encoder="mini", settings={"read_only": True})
    yield
    await app.state.store.aclose()


app = FastAPI(title="Busca", lifespan=lifespan)


@app.get("/search")
async def search(
    request: Request, q: Annotated[str, Query(min_length=1)], k: Annotated[int, Query(ge=1, le=100)] = 10, assunto: str | None = None
) -> list[dict[str, Any]]:
    """The k best documents, of one subject if it is named."""
    store: Store = request.app.state.store
    hits = await store.asearch(q, k, filter=None if assunto is None else {"assunto": assunto})
    return [{"id": hit.doc_id, "score": hit.score, "title": hit.payload["title"], "text": hit.passage.text} for hit in hits]


if __name__ == "__main__":
    with open_store(URL, encoder="mini") as filled:
        ingest(DOCUMENTS, filled)
