"""What of a collection's train split is kept for validation: its last queries and their passages."""

from __future__ import annotations

from splade_ptbr_connectors.evaluation.collections import BeirFolder, JudgedCollection, collection_in_memory
from splade_ptbr_connectors.evaluation.qrels import Qrels


def split_train(folder: BeirFolder, held_out: float) -> tuple[Qrels, Qrels]:
    """(training, held-out) judgments: the last share of the train queries; no passage is on both sides."""
    qrels = folder.qrels.get("train", {})
    ids = list(qrels)
    cut = len(ids) - round(held_out * len(ids))
    kept_out = {query_id: qrels[query_id] for query_id in ids[cut:]}
    passages = {passage for judged in kept_out.values() for passage in judged}
    training = {query_id: qrels[query_id] for query_id in ids[:cut] if not passages & set(qrels[query_id])}
    return training, kept_out


def held_out_collection(folder: BeirFolder, qrels: Qrels) -> JudgedCollection:
    """The held-out queries against every passage that no test query is about.

    Raises InputError: no held-out query has a relevant passage among them.
    """
    tested = {passage for judged in folder.qrels.get("test", {}).values() for passage in judged}
    documents = {doc_id: text for doc_id, text in folder.documents.items() if doc_id not in tested}
    kept = {query_id: {d: s for d, s in judged.items() if d in documents} for query_id, judged in qrels.items()}
    kept = {query_id: judged for query_id, judged in kept.items() if judged}
    return collection_in_memory(f"{folder.name}:held-out", documents, {q: folder.queries[q] for q in kept}, kept)
