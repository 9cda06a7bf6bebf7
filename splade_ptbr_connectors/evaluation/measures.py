"""Effectiveness measures, computed by ir-measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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

    nDCG takes the relevance as gain (linear, as trec_eval does); RR and R count relevance >= 1. A ranking is measured in the
    order of its scores, equal ones in the order that the run has them. Tools that read the run's file break ties by
    document id, and round scores to float32 before they do: they may rank such documents otherwise.

    Raises:
        MissingExtraError: without the extra [evaluation].
        ConfigError: see `parse_measure`.
        InputError: no judgment at all.
    """
    if not qrels:
        raise InputError("there are no relevance judgments to compare with.")
    ir_measures = require("ir_measures", "evaluation")
    parsed = [parse_measure(name) for name in measures]
    judgments = [ir_measures.Qrel(query_id, doc_id, grade) for query_id, judged in qrels.items() for doc_id, grade in judged.items()]
    found = [ir_measures.ScoredDoc(query_id, doc_id, score) for query_id in qrels for doc_id, score in _by_rank(run.get(query_id, {}))]
    per_query = {query_id: dict.fromkeys(map(str, parsed), 0.0) for query_id in qrels}
    for value in ir_measures.iter_calc(parsed, judgments, found) if found else ():
        per_query[value.query_id][str(value.measure)] = float(value.value)
    means = {str(name): sum(values[str(name)] for values in per_query.values()) / len(qrels) for name in parsed}
    return Effectiveness(means, len(qrels), sum(not run.get(query_id) for query_id in qrels), per_query)


def parse_measure(name: str) -> Any:
    """The measure of ir-measures that a name stands for; its `str` is the canonical name.

    Raises:
        MissingExtraError: without the extra [evaluation].
        ConfigError: unknown, with a cut-off below 1, or not to be computed by what is installed.
    """
    ir_measures = require("ir_measures", "evaluation")
    try:
        parsed = ir_measures.parse_measure(name)
    except (NameError, ValueError, SyntaxError, TypeError) as error:
        raise ConfigError(f"{name!r} is not a measure of ir-measures: try {', '.join(MEASURES)}.") from error
    cut_off = parsed.params.get("cutoff", 1)
    if not isinstance(cut_off, int) or cut_off < 1:  # trec_eval would end the process
        raise ConfigError(f"{name!r} has no cut-off of at least 1: say how many documents count, as in {parsed.NAME}@10.")
    try:
        ir_measures.evaluator([parsed], [ir_measures.Qrel("1", "1", 1)])
    except (ValueError, TypeError, AssertionError) as error:  # what its providers raise for values that they do not take
        raise ConfigError(f"{name!r} cannot be computed here: {' '.join(str(error).split())}") from error
    return parsed


def _by_rank(scores: Mapping[str, float]) -> Iterator[tuple[str, int]]:
    """Best first, with numbers that fall by rank: trec_eval sorts again, and they leave it no tie to break."""
    order = sorted(scores, key=lambda doc_id: -scores[doc_id])  # stable
    return zip(order, range(len(order), 0, -1), strict=True)
