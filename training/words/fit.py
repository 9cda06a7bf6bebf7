"""Training of the gate: each query against all documents of its collection, exactly.

A query of a hundred terms touches a few thousand postings, so there is nothing to sample and nothing to mine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from splade_ptbr_connectors.encoding.edge_features import Describer
from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.encoding.thesaurus import Integers
from training.recipe.words import Gate as GateSection
from training.words.counts import vectors_matrix
from training.words.gate import Gate, Prepared, Tables, prepare
from training.words.material import Material, TrainCollection


class HasQueries(Protocol):
    """A collection of which batches are made."""

    @property
    def name(self) -> str: ...

    @property
    def queries(self) -> Sized: ...


@dataclass(frozen=True)
class Searched:
    """A collection in which training queries are looked for. D documents."""

    name: str
    postings: sparse.csr_matrix  # [V, D]
    queries: list[Prepared]
    relevant: list[Integers]  # columns


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to, as means over its batches."""

    number: int
    step: int
    loss: float
    l1: float
    scale: float
    seconds: float


def searched(material: Material, collection: TrainCollection, describer: Describer) -> Searched:
    """The vectors of a collection's documents, and its queries."""
    matrix = vectors_matrix(material.words.counted(material.terms(list(collection.documents.values()))), len(material.weights))
    queries = [prepare(terms, describer, material.thesaurus) for terms in material.terms([query for query, _ in collection.queries])]
    return Searched(collection.folder.name, matrix.T.tocsr(), queries, relevant_columns(collection))


def relevant_columns(collection: TrainCollection) -> list[Integers]:
    """Of each query, the places of its relevant documents."""
    place = {document: n for n, document in enumerate(collection.documents)}
    return [np.array([place[document] for document in documents], np.int64) for _, documents in collection.queries]


def word_scores(encoder: SpladeEncoder, collection: TrainCollection) -> NDArray[np.float32]:
    """[Q, D] scores of a collection's queries and documents, as `encoder` gives them."""
    queries = vectors_matrix(list(encoder.encode_queries(query for query, _ in collection.queries)), encoder.vocab_size)
    documents = vectors_matrix(list(encoder.encode_documents(collection.documents.values())), encoder.vocab_size)
    return np.asarray((queries @ documents.T).toarray(), np.float32)


def fit(
    collections: Sequence[Searched],
    tables: Tables,
    section: GateSection,
    shares: Mapping[str, float],
    *,
    seed: int,
    after_epoch: Callable[[Gate, Epoch], None],
) -> Gate:
    """A trained gate.

    Args:
        shares: how often the batches of a collection come in an epoch, 1 if not named.
        after_epoch: is called with the gate as it would be saved.
    """
    torch.manual_seed(seed)
    gate = Gate(section.hidden, section.projected, tables.expressions.shape[1], section.dropout)
    optimizer = torch.optim.AdamW(gate.parameters(), section.lr, weight_decay=section.weight_decay)
    per_epoch = len(list(batches(collections, section.batch_queries, shares, seed=seed, epoch=0)))
    schedule = falling(optimizer, per_epoch * section.epochs, least=0.003)
    for epoch in range(section.epochs):
        began, losses = time.monotonic(), []
        gate.train()
        for number, chosen in batches(collections, section.batch_queries, shares, seed=seed, epoch=epoch):
            collection = collections[number]
            queries = [collection.queries[n] for n in chosen]
            found, ends = gate(queries, tables)
            l1 = (found * _is_added(queries)).sum() / len(queries)
            kept = _heaviest(found, ends, section.terms if epoch >= section.cut_after else section.terms_at_first)
            scores = gate.scale * _scores(found, kept, queries, collection)
            loss = relevance_loss(scores, [collection.relevant[query] for query in chosen], section.power)
            optimizer.zero_grad()
            (loss + section.l1 * l1).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append((loss.item(), l1.item()))
        mean = np.mean(losses, axis=0)
        seconds = time.monotonic() - began
        gate.eval()
        after_epoch(gate, Epoch(epoch + 1, per_epoch * (epoch + 1), float(mean[0]), float(mean[1]), gate.scale.item(), seconds))
    return gate


def falling(optimizer: torch.optim.Optimizer, steps: int, *, least: float = 1e-3) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate falls in a line to this share of it."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / max(1, steps)) + least)


def batches(
    collections: Sequence[HasQueries], size: int, shares: Mapping[str, float], *, seed: int, epoch: int
) -> Iterator[tuple[int, list[int]]]:
    """(number of a collection, its queries), in random order; a share of 1.5 gives all batches once and half of them again."""
    rng = np.random.default_rng([seed, epoch])
    found: list[tuple[int, list[int]]] = []
    for number, collection in enumerate(collections):
        wanted, share = shares.get(collection.name, 1.0), 0.0
        while share < wanted:
            order = rng.permutation(len(collection.queries))
            chunks = [order[start : start + size].tolist() for start in range(0, len(order), size)]
            found += [(number, chunk) for chunk in chunks[: round(min(1.0, wanted - share) * len(chunks))]]
            share += 1.0
    for place in rng.permutation(len(found)):
        yield found[place]


def _is_added(queries: Sequence[Prepared]) -> Tensor:
    """[all P] 0 for the queries' own terms."""
    return torch.from_numpy(np.concatenate([np.arange(len(query.terms)) >= query.own for query in queries]).astype(np.float32))


def _heaviest(weights: Tensor, ends: Sequence[int], limit: int) -> Integers:
    """Places of the `limit` heaviest terms of each query."""
    values, start, kept = weights.detach().numpy(), 0, []
    for end in ends:
        kept.append(start + np.argsort(-values[start:end], kind="stable")[:limit])
        start = end
    return np.concatenate(kept)


def _scores(weights: Tensor, kept: Integers, queries: Sequence[Prepared], collection: Searched) -> Tensor:
    """[B, D] scores by words; only `kept` terms are scored."""
    documents = collection.postings.shape[1]
    terms = np.concatenate([query.terms for query in queries])[kept]
    of_query = np.repeat(np.arange(len(queries)), [len(query.terms) for query in queries])[kept]
    rows = collection.postings[terms]
    lengths = np.diff(rows.indptr)
    place = torch.from_numpy(np.repeat(of_query, lengths) * documents + rows.indices)
    posting = weights[torch.from_numpy(np.repeat(kept, lengths))] * torch.from_numpy(rows.data)
    return torch.zeros(len(queries) * documents).index_add(0, place, posting).view(len(queries), documents)


def relevance_loss(scores: Tensor, relevant: Sequence[Integers], power: float) -> Tensor:
    """Mean over the queries of (1 - p^power) / power, p the share of the relevant documents in the softmax over all.

    Near power 0 it is cross entropy; the larger it is, the less are queries heard for which nothing helps (generalised cross
    entropy, arXiv 1805.07836).
    """
    right = torch.zeros(scores.shape, dtype=torch.bool)
    for row, documents in enumerate(relevant):
        right[row, documents] = True
    share = torch.logsumexp(scores.masked_fill(~right, -torch.inf), dim=1) - torch.logsumexp(scores, dim=1)
    return (-torch.expm1(power * share) / power).mean()
