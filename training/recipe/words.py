"""Recipes of kind "words": a model without a network, made of counts, a thesaurus and a gate (training/words)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from splade_ptbr_connectors.errors import ConfigError
from training.recipe.concepts import Concepts
from training.recipe.messages import suggestion
from training.recipe.types import Count, Natural, NotNegative, Number, Positive, Section


class WordsData(Section):
    """[data]: text that is counted, and judged queries that the gate learns from."""

    collections: tuple[str, ...]
    """BEIR folders, relative to the data folder, whose train split is used."""
    held_out: dict[str, Number] = Field(default_factory=dict)
    """Share of a collection's train split, its last queries, kept for validation."""
    texts: str
    """Folder of *.txt.gz, a paragraph a line."""
    paragraphs: Count = 12_000
    """Of each text file, from the first."""
    queries: str | None = None
    """JSONL of {"collection", "passage", "query"}: further queries for train passages."""
    share: dict[str, Number] = Field(default_factory=dict)
    """How often the batches of a collection come in an epoch; 1 for those not named."""


class WordsModel(Section):
    """[model]: the vocabulary, and what documents weigh."""

    pieces: str
    """WordPiece vocabulary for the words that are not in the model's."""
    thesaurus: str | None = None
    """headword<TAB>equivalents<TAB>related words; None: queries are a table of weights."""
    min_count: Count = 3
    words: Count = 60_000
    """Words of text at most; those of the thesaurus and of training passages come on top."""
    vector_size: Count = 64
    k1: Positive = 0.9
    b: Number = 0.6
    average_length: Positive = 110.0
    """In terms, stop words left out."""
    inflections: bool = True
    """An unknown form of a known word has its term."""
    forms: NotNegative = 0.15
    """What a word in another form than the one its term is called by weighs beside the term, as a share of this form's IDF; 0: nothing."""
    max_terms_query: Count = 40
    min_weight_query: NotNegative = 0.2
    min_weight_added: NotNegative = 0.0
    """Of a word that the thesaurus adds to a query."""


class Blind(Section):
    """[expansion] of kind "blind": every edge passes with the same share; nothing is learned."""

    kind: Literal["blind"] = "blind"
    equivalents: Number = 0.3
    related: Number = 0.1


class Gate(Section):
    """[expansion] of kind "gate": how the gate is trained (training/words/fit.py)."""

    kind: Literal["gate"] = "gate"
    hidden: Count = 48
    projected: Count = 16
    """Numbers that the direction of a word is projected to."""
    epochs: Count = 4
    batch_queries: Count = 32
    lr: Positive = 3e-3
    l1: NotNegative = 0.001
    """On the weights that are added to a query."""
    power: Positive = 0.02
    """Of the loss: near 0 cross entropy; larger, it listens less to queries that cannot be answered."""
    dropout: Number = 0.0
    """Of the hidden numbers of the gate."""
    added: Number = 0.8
    """Factor on what is added, after training."""
    weight_decay: NotNegative = 0.05
    terms: Count = 40
    terms_at_first: Count = 120
    """Heaviest terms of a query that are scored, in the first `cut_after` epochs and later."""
    cut_after: Natural = 1
    average: Natural = 1
    """Of so many last epochs' weights the mean is taken."""


class WordsValidation(Section):
    """[validation]: what choices are made on; the last epoch is kept."""

    splits: tuple[str, ...] = ()
    """`collection:split` of BEIR folders. A test split is refused."""
    every: Count = 2
    """Epochs between two measurements; the start and the end are measured in any case."""


class WordsRecipe(Section):
    """A whole recipe."""

    kind: Literal["words"]
    name: str
    seed: int
    data: WordsData
    model: WordsModel
    expansion: Gate | Blind | None = Field(None, discriminator="kind")
    concepts: Concepts | None = None
    validation: WordsValidation = Field(default_factory=WordsValidation)
    threads: Count = 1
    note: str = ""
    cost: str = ""


def check_words(recipe: WordsRecipe, *, where: str) -> None:
    """Raises ConfigError for a key without effect, or a test split."""
    tests = [split for split in recipe.validation.splits if split.endswith(":test")]
    if tests:
        raise ConfigError(f"{where}: validation.splits names test splits ({', '.join(tests)}): choices are made on dev splits")
    if recipe.model.forms and not recipe.model.inflections:
        raise ConfigError(f"{where}: model.forms needs model.inflections, which tell words from pieces of words: set forms to 0 as well")
    if (recipe.expansion is None) != (recipe.model.thesaurus is None):
        raise ConfigError(f"{where}: model.thesaurus and [expansion] go together: queries are expanded by a thesaurus, or not at all")
    if recipe.expansion is None and recipe.model.min_weight_added:
        raise ConfigError(f"{where}: model.min_weight_added has no effect in this recipe: without [expansion] nothing is added to a query")
    if not isinstance(recipe.expansion, Gate) and recipe.data.share:
        raise ConfigError(f"{where}: data.share has no effect in this recipe: nothing is trained, so there are no batches")
    for table in ("held_out", "share"):
        for name in getattr(recipe.data, table):
            if name not in recipe.data.collections:
                raise ConfigError(f"{where}: data.{table} names {name!r}, no collection{suggestion(name, recipe.data.collections)}")
