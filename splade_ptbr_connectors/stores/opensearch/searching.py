"""Chooses the form of a query: what the field and the server know, cut to the number of clauses that the server takes."""

from __future__ import annotations

import logging
from typing import Any

from ...vectors import SparseVector
from ..calls import Operation
from . import queries
from .capabilities import DEFAULT_MAX_CLAUSES, Capabilities, detect
from .features import FeatureLayout
from .filters import clause_count
from .settings import OpenSearchSettings

logger = logging.getLogger(__name__)


class Searcher:
    """Builds the queries of one store.

    Attributes:
        pruned: how many queries had more terms than the server takes.
    """

    def __init__(self, url: str, field_type: str, layout: FeatureLayout, settings: OpenSearchSettings) -> None:
        self.pruned = 0
        self._url = url
        self._field_type = field_type
        self._layout = layout
        self._settings = settings
        self._server: Capabilities | None = None

    def server(self) -> Operation[Capabilities]:
        """What the server is and has, asked once."""
        if self._server is None:
            self._server = yield from detect()
        return self._server

    def query(self, query: SparseVector, top_k: int, clauses: queries.Clauses) -> Operation[dict[str, Any]]:
        """The query of a search."""
        query = yield from self._within_limit(query, clause_count(clauses))
        if self._field_type == "sparse_vector":
            return queries.sparse_vector(query, clauses, top_k, self._settings.heap_factor)
        form = self._settings.query
        if form == "auto":
            server = yield from self.server()
            form = self.form(server)
            if query.weights.max() > queries.MAX_TOKEN_WEIGHT:
                form = "rank_feature"  # the same scores, written out
        return queries.rank_feature(query, clauses, self._layout) if form == "rank_feature" else queries.neural_sparse(query, clauses)

    def form(self, server: Capabilities) -> str:
        """Which form of query this server gets."""
        if self._field_type == "sparse_vector":
            return "neural_sparse"
        if self._settings.query != "auto":
            return self._settings.query
        return "neural_sparse" if server.neural_sparse and not self._layout.terms_per_field else "rank_feature"

    def _within_limit(self, query: SparseVector, taken: int) -> Operation[SparseVector]:
        if len(query) + taken <= DEFAULT_MAX_CLAUSES // 2:  # no server is set to so few
            return query
        server = yield from self.server()
        room = max(1, server.max_clauses - taken)
        if len(query) <= room:
            return query
        self.pruned += 1
        logger.warning("%s: a query of %d terms was cut to the %d largest weights, the server takes no more", self._url, len(query), room)
        return query.prune(max_terms=room)
