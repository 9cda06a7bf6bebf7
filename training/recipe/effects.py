"""Keys that would do nothing in a recipe, and settings that contradict each other: errors before anything is read.

Both published Portuguese SPLADE trainings ran without a regulariser or without in-batch negatives that their files named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from splade_ptbr_connectors.errors import ConfigError
from training.recipe.messages import suggestion
from training.recipe.sections import (
    CollectionsData,
    HubData,
    LexicalModel,
    Recipe,
    ScoredData,
    SharedQueries,
    Sparsity,
    TableQueries,
)
from training.recipe.types import Section

LOSSES = ("contrastive", "margin_mse", "kl")
Effect = tuple[str, Callable[[Recipe], bool], str]


def check_effects(recipe: Recipe, *, where: str) -> None:
    """Raises ConfigError for a contradiction, or a given key that has no effect."""
    given = set(_given(recipe))
    for key, effective, reason in EFFECTS:
        if key in given and not effective(recipe):
            raise ConfigError(f"{where}: {key} has no effect in this recipe: {reason}")
    for side in ("query", "document"):
        _check_sparsity(getattr(recipe.sparsity, side), f"{where}: sparsity.{side}")
    for problem, message in _contradictions(recipe):
        if problem:
            raise ConfigError(f"{where}: {message}")


def has_teacher(recipe: Recipe) -> bool:
    """The data may bring teacher scores, or stemmed BM25 gives them."""
    brings = isinstance(recipe.data, ScoredData) or (isinstance(recipe.data, HubData) and recipe.data.scores is not None)
    return brings or recipe.ranking.bm25_teacher


def _given(section: Section, prefix: str = "") -> Iterator[str]:
    """The dotted keys that a recipe itself gives, whatever their defaults."""
    for name in section.model_fields_set:
        yield f"{prefix}{name}"
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _given(value, f"{prefix}{name}.")


def _check_sparsity(section: Sparsity | None, where: str) -> None:
    if section is None:
        return
    if (section.weight is None) == (section.target_terms is None):
        raise ConfigError(
            f"{where} needs weight (a fixed lambda) or target_terms (lambda steered to a number of terms): exactly one of them"
        )
    if section.regularizer == "l0_flops" and section.target_terms is not None and section.target_terms <= section.threshold:
        raise ConfigError(
            f"{where}: l0_flops has no gradient at {section.target_terms:g} terms, its threshold is {section.threshold}: lower it"
        )
    for name in ("weight", "target_terms"):
        value = getattr(section, name)
        if value is not None and not value > 0:
            raise ConfigError(f"{where}.{name} is {value}: it would have no effect; leave the section out, or give more than 0")


def _contradictions(recipe: Recipe) -> list[tuple[bool, str]]:
    tests = [name for name in recipe.validation.splits if name.endswith(":test")]
    losses, data, training = recipe.ranking.losses, recipe.data, recipe.training
    unknown = sorted(set(losses) - set(LOSSES))
    idle = sorted(name for name, weight in losses.items() if not weight > 0)
    distils = bool({"kl", "margin_mse"} & losses.keys())
    held_out = isinstance(data, CollectionsData) and any(share > 0 for share in data.held_out.values())
    lexical = isinstance(recipe.model, LexicalModel)
    no_negatives = isinstance(data, HubData | ScoredData) and not data.negatives
    return [
        (bool(tests), f"validation names test splits ({', '.join(tests)}): tests are never looked at while training"),
        (not losses, f"ranking.losses is empty; accepted: {', '.join(LOSSES)} with their weights"),
        (bool(unknown), f"ranking.losses names {', '.join(unknown)}; accepted: {', '.join(LOSSES)}"),
        (bool(idle), f"ranking.losses gives {', '.join(idle)} no weight above 0: it would have no effect; leave it out"),
        (
            distils and not has_teacher(recipe),
            "margin_mse and kl need teacher scores: data of kind 'scored' or 'hub' with scores, or bm25_teacher",
        ),
        (
            no_negatives and recipe.ranking.candidates in ("own", "hard"),
            "data.negatives is empty and the candidate set has no other negatives",
        ),
        (no_negatives and distils, "margin_mse and kl compare a positive with its negatives, and data.negatives is empty"),
        (
            lexical and not isinstance(recipe.queries, TableQueries),
            "a model of kind 'lexical' encodes queries by a table: queries.kind = 'table'",
        ),
        (lexical and recipe.sparse_embed is not None, "sparse_embed needs a masked language model, not a model of kind 'lexical'"),
        (
            recipe.sparse_embed is not None and not isinstance(recipe.queries, SharedQueries),
            "sparse_embed encodes both sides by one network: queries.kind = 'shared'",
        ),
        (
            getattr(recipe.model, "pooling", "max") == "sum" and getattr(recipe.model, "activation", "log1p_relu") != "log1p_relu",
            "pooling 'sum' goes with activation 'log1p_relu' only",
        ),
        (
            recipe.optimizer.warmup_steps > training.steps,
            f"optimizer.warmup_steps ({recipe.optimizer.warmup_steps}) is longer than the run",
        ),
        (
            not (recipe.validation.splits or recipe.validation.files or held_out),
            "nothing is validated on: give validation.splits, files or data.held_out",
        ),
        (isinstance(data, CollectionsData) and not sum(data.mixture.values()) > 0, "data.mixture gives no source a share above 0"),
        *_source_names(recipe),
    ]


def _source_names(recipe: Recipe) -> list[tuple[bool, str]]:
    data = recipe.data
    if not isinstance(data, CollectionsData):
        return []
    known = {*data.collections, "weak", "cloze"}
    strange = [name for name in [*data.mixture, *data.held_out] if name not in known]
    missing = [name for name, has in (("weak", data.pairs), ("cloze", data.cloze_texts)) if data.mixture.get(name) and not has]
    return [
        (bool(strange), f"unknown source {strange[0]!r} in [data]{suggestion(strange[0], known)}" if strange else ""),
        (bool(missing), f"data.mixture names {', '.join(missing)}, and [data] has no {'pairs' if 'weak' in missing else 'cloze_texts'}"),
    ]


def _contrastive(recipe: Recipe) -> bool:
    return "contrastive" in recipe.ranking.losses


def _cloze(recipe: Recipe) -> bool:
    return isinstance(recipe.data, CollectionsData) and recipe.data.mixture.get("cloze", 0) > 0


def _sparsity_effects(side: str) -> list[Effect]:
    def section(recipe: Recipe) -> Sparsity:
        found: Sparsity = getattr(recipe.sparsity, side)
        return found

    steered = "lambda is steered by target_terms"
    return [
        (f"sparsity.{side}.ramp_steps", lambda r: section(r).target_terms is None, steered),
        (f"sparsity.{side}.gain", lambda r: section(r).target_terms is not None, "only target_terms has a controller"),
        (f"sparsity.{side}.threshold", lambda r: section(r).regularizer == "l0_flops", "only l0_flops has a threshold"),
        *(
            (f"sparsity.{side}.{key}", lambda r: section(r).regularizer == "df_flops", f"only df_flops has {key}")
            for key in ("df_alpha", "df_beta", "df_every")
        ),
    ]


EFFECTS: list[Effect] = [
    *_sparsity_effects("query"),
    *_sparsity_effects("document"),
    ("sparsity.query.convention", lambda r: False, "queries are one group; the conventions are about documents"),
    ("ranking.candidates", _contrastive, "only the contrastive loss has in-batch candidates"),
    (
        "ranking.learned_scale",
        lambda r: _contrastive(r) or "kl" in r.ranking.losses,
        "only contrastive and kl depend on the scale of scores",
    ),
    ("ranking.teacher_temperature", lambda r: "kl" in r.ranking.losses, "only kl has a temperature"),
    ("ranking.kl_temperature", lambda r: "kl" in r.ranking.losses, "only kl has a temperature"),
    ("ranking.bm25_teacher", lambda r: bool({"kl", "margin_mse"} & r.ranking.losses.keys()), "no loss asks a teacher"),
    ("optimizer.decay_steps", lambda r: r.optimizer.decay == "linear", "the learning rate is constant"),
    ("optimizer.floor", lambda r: r.optimizer.decay == "linear", "the learning rate is constant"),
    ("data.cloze_limit", _cloze, "data.mixture gives cloze no share"),
    ("data.cloze_texts", _cloze, "data.mixture gives cloze no share"),
    ("data.pairs", lambda r: isinstance(r.data, CollectionsData) and r.data.mixture.get("weak", 0) > 0, "data.mixture gives weak no share"),
    ("data.texts", lambda r: isinstance(r.data, CollectionsData) and bool(r.data.cloze_texts), "only cloze_texts are read from it"),
    (
        "data.fill_documents",
        lambda r: r.ranking.candidates in ("all", "hard"),
        "the candidate set has only own hard negatives and positives",
    ),
    ("queries.idf", lambda r: not isinstance(r.model, LexicalModel), "a model of kind 'lexical' counts its own IDF"),
    ("model.neighbours", lambda r: getattr(r.model, "lexicon", "") == "stems", "the lexicon is 'none'"),
    ("model.neighbour_gain", lambda r: getattr(r.model, "lexicon", "") == "stems", "the lexicon is 'none'"),
    ("model.piece_weight", lambda r: getattr(r.model, "lexicon", "") == "stems", "the lexicon is 'none'"),
    ("model.importance_share", lambda r: bool(getattr(r.model, "contextual", True)), "the network is off"),
]
