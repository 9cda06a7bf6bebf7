"""Effectiveness measures, computed by ir-measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import ConfigError, InputError
from ..extras import require
from .qrels import Qrels

MEASURES = ("nDCG@10", "nDCG@20", "RR@10", "R@100", "R@1000")


@dataclass(frozen=True, slots=True)
class Effectiveness:
    """Means over the judged queries.

    Attributes:
        means: measure name -> mean, each over all `queries`: a query without hits counts as 0.
        queries: number of judged queries, the denominator of every mean.
        unanswered: those of them for which the run has no document.
        per_query: query id -> measure name -> value.
    """

    means: dict[str, float]
    queries: int
    unanswered: int
    per_query: dict[str, dict[str, float]]


def measure(run: Mapping[str, Mapping[str, float]], qrels: Qrels, measures: Sequence[str] = MEASURES) -> Effectiveness:
    """Compare a run with judgments; queries of the run that nobody judged are left out.

    nDCG takes the relevance as gain (linear, as trec_eval does); RR and R count relevance >= 1. The scores are handed
    over as they are, so ir-measures gives the same for the run file; it ranks equal scores by trec_eval's rule, larger
    document id first (except for RR@k, where the smaller comes first).

    Raises:
        MissingExtraError: without the extra [evaluation].
        ConfigError: a name that ir-measures does not know.
        InputError: no judgment at all.
    """
    if not qrels:
        raise InputError("there are no relevance judgments to compare with.")
    ir_measures = require("ir_measures", "evaluation")
    parsed = [_parse(ir_measures, name) for name in measures]
    judgments = [ir_measures.Qrel(query_id, doc_id, grade) for query_id, judged in qrels.items() for doc_id, grade in judged.items()]
    found = [ir_measures.ScoredDoc(query_id, doc_id, score) for query_id in qrels for doc_id, score in run.get(query_id, {}).items()]
    per_query = {query_id: dict.fromkeys(map(str, parsed), 0.0) for query_id in qrels}
    for value in ir_measures.iter_calc(parsed, judgments, found) if found else ():
        per_query[value.query_id][str(value.measure)] = float(value.value)
    means = {str(name): sum(values[str(name)] for values in per_query.values()) / len(qrels) for name in parsed}
    return Effectiveness(means, len(qrels), sum(not run.get(query_id) for query_id in qrels), per_query)


def _parse(ir_measures: object, name: str) -> object:
    try:
        return ir_measures.parse_measure(name)  # type: ignore[attr-defined]
    except (NameError, ValueError, SyntaxError) as error:
        raise ConfigError(f"{name!r} is not a measure of ir-measures: try {', '.join(MEASURES)}.") from error
