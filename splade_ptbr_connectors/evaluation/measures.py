"""Effectiveness measures, computed by ir-measures."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, InputError
from ..extras import require
from .qrels import Qrels, check_grade
from .runs import check_score

# what providers raise for parameters, grades and machines on which they cannot compute
_FAILURES = (
    ValueError,
    TypeError,
    AssertionError,
    RuntimeError,
    ArithmeticError,
    LookupError,
    SystemError,
    OSError,
    subprocess.SubprocessError,
)
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
        ConfigError: see `parse_measure`; or a measure that does not take these grades.
        InputError: no judgment at all, a grade that is not a small integer, or a score that is not a finite number.
    """
    if not any(qrels.values()):
        raise InputError("there are no relevance judgments to compare with.")
    parsed = [parse_measure(name) for name in measures]
    per_query = {query_id: dict.fromkeys(map(str, parsed), 0.0) for query_id in qrels}
    try:
        for query_id, name, value in _values(parsed, run, qrels):
            per_query[query_id][name] = value
    except _FAILURES as error:
        wanted = ", ".join(map(str, parsed))
        raise ConfigError(f"{wanted} cannot all be computed of these judgments: {_reason(error)}.") from error
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
    try:  # some providers find out only when they compute
        list(_values([parsed], {"q": {"d": 1.0}}, {"q": {"d": 1}}))
    except _FAILURES as error:
        raise ConfigError(f"{name!r} cannot be computed here: {_reason(error)}.") from error
    return parsed


def _values(parsed: Sequence[Any], run: Mapping[str, Mapping[str, float]], qrels: Qrels) -> Iterator[tuple[str, str, float]]:
    """(query id, measure, value). Ids are numbered for the providers, of which one takes no other query ids."""
    ir_measures = require("ir_measures", "evaluation")
    queries, numbers = list(qrels), dict[str, str]()

    def numbered(doc_id: str) -> str:
        return numbers.setdefault(doc_id, str(len(numbers) + 1))

    judgments, found = [], []
    for number, query_id in enumerate(queries):
        judgments += [ir_measures.Qrel(str(number), numbered(d), check_grade(grade, d)) for d, grade in qrels[query_id].items()]
        found += [ir_measures.ScoredDoc(str(number), numbered(d), rank) for d, rank in _by_rank(run.get(query_id, {}))]
    for value in ir_measures.iter_calc(parsed, judgments, found) if found else ():
        if not math.isfinite(value.value):
            raise ArithmeticError(f"{value.measure} of query {queries[int(value.query_id)]!r} is {value.value}")
        yield queries[int(value.query_id)], str(value.measure), float(value.value)


def _by_rank(scores: Mapping[str, float]) -> Iterator[tuple[str, int]]:
    """Best first, with numbers that fall by rank: trec_eval sorts again, and they leave it no tie to break."""
    checked = {doc_id: check_score(score, doc_id) for doc_id, score in scores.items()}
    order = sorted(checked, key=lambda doc_id: -checked[doc_id])  # stable
    return zip(order, range(len(order), 0, -1), strict=True)


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"its program ended with status {error.returncode} (gdeval takes grades up to 4)"
    return " ".join(str(error).split()).rstrip(".")
