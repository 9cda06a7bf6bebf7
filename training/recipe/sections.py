"""The sections of a recipe: frozen, strict about types and values. What a key does not do here, it does nowhere (effects.py)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from training.recipe.types import (
    Activation,
    CandidateSet,
    Convention,
    Count,
    Natural,
    NotNegative,
    Number,
    Pooling,
    Positive,
    Regularizer,
    Section,
)

# -- [data]: where batches come from; one class per `kind` ----------------------------------------------------------------


class CollectionsData(Section):
    """BEIR folders, weak pairs and running text, mixed; hard negatives by stemmed BM25."""

    kind: Literal["collections"] = "collections"
    collections: tuple[str, ...]
    """BEIR folders, relative to the data folder, whose train split is used."""
    held_out: dict[str, Number] = Field(default_factory=dict)
    """Share of a collection's train split, its last queries and their passages, kept for validation."""
    pairs: str | None = None
    """JSONL of {"query", "positive", "source"}: the source `weak`."""
    texts: str | None = None
    """Folder of text files; needed by `cloze_texts`."""
    cloze_texts: tuple[str, ...] = ()
    """Text files from which sentence -> rest of the passage pairs are made: the source `cloze`."""
    cloze_limit: int = 3000
    """Pairs per text file."""
    mixture: dict[str, Number] = Field(default_factory=dict)
    """Share of the batches of each source: a collection, `weak` or `cloze`."""
    negatives: Natural = 0
    """Hard negatives of each query, drawn from what stemmed BM25 finds best; in small sources only."""
    fill_documents: Natural = 0
    """Columns that a batch is filled up to: mined passages of its queries first, then others of the source."""


class TripletsData(Section):
    """MS MARCO / mMARCO: a file of id triplets (memory-mapped after a conversion), texts by byte offset."""

    kind: Literal["triplets"] = "triplets"
    collection: str
    """`doc_id<TAB>text`; a `.gz` is not accepted, texts are read by offset."""
    queries: str
    """`query_id<TAB>text`."""
    triples: str
    """`query_id<TAB>positive_id<TAB>negative_id`."""
    qrels: str | None = None
    """Known positives: never negatives of their query."""
    limit: Count | None = None
    """Only this many triplets, from the first."""


class TripletTextsData(Section):
    """A file of text triplets: `query<TAB>positive<TAB>negative`."""

    kind: Literal["triplet_texts"] = "triplet_texts"
    triples: str
    limit: Count | None = None


class ScoredData(Section):
    """JSONL with mined negatives and, where a teacher was asked, its scores (what `mine` and `score` write)."""

    kind: Literal["scored"] = "scored"
    path: str
    """{"query_id"?, "query", "documents": [positive, negative, ...], "doc_ids"?, "positives"?: [...], "scores"?: [...]} a line."""
    collection: str | None = None
    """`doc_id<TAB>text`, or a BEIR corpus.jsonl, when the lines name documents by id."""
    queries: str | None = None
    """`query_id<TAB>text`, or a BEIR queries.jsonl, when the lines name queries by id."""
    negatives: Natural = 1
    """Drawn for each query from those of its line."""


class HubData(Section):
    """A dataset of the Hugging Face hub (or a local folder that `datasets` reads), by columns."""

    kind: Literal["hub"] = "hub"
    dataset: str
    split: str = "train"
    subset: str | None = None
    query: str = "query"
    positive: str = "positive"
    negatives: tuple[str, ...] = ("negative",)
    """Columns of texts or of lists of texts; none: in-batch negatives only."""
    scores: str | None = None
    """Column with a list of teacher scores: of the positive, then of each negative."""


Data = Annotated[CollectionsData | TripletsData | TripletTextsData | ScoredData | HubData, Field(discriminator="kind")]

# -- [model] --------------------------------------------------------------------------------------------------------------


class PretrainedModel(Section):
    """A masked language model or a T5 encoder of a folder or of the hub."""

    kind: Literal["pretrained"] = "pretrained"
    path: str
    """A folder or a hub id."""
    revision: str | None = None
    pooling: Pooling = "max"
    activation: Activation = "log1p_relu"
    """`log1p_relu`, or `log1p_log1p_relu` (Shen et al., arXiv 2504.14839)."""
    pool_special_tokens: bool = True
    """Whether the positions of [CLS], [SEP] ... take part in the pooling, as they do in SPLADE."""
    gradient_checkpointing: bool = False


class SmallModel(Section):
    """A masked language model made here: embeddings counted on text, then layers that start as the identity."""

    kind: Literal["small"] = "small"
    vocabulary: str
    texts: str
    """Folder of text files whose co-occurrences give the embeddings."""
    hidden_size: int = 128
    layers: int = 2
    heads: int = 4
    intermediate_size: int = 512
    max_positions: int = 512
    initial_bias: Number = -1.0
    """Output bias: how far below zero the logits start."""
    similarity_scale: Number = 4.0
    """Logit of a term with itself at the start, before the bias; of others, their cosine times this."""
    embedding_tokens: int = 12_000_000
    dropout: Number = 0.0
    pooling: Pooling = "max"
    activation: Activation = "log1p_relu"
    pool_special_tokens: bool = True


class LexicalModel(Section):
    """The shape of `mini`: a lexical channel that starts as BM25, weighed by a small network; queries by a table."""

    kind: Literal["lexical"] = "lexical"
    vocabulary: str
    texts: str
    hidden_size: int = 128
    layers: int = 1
    heads: int = 4
    intermediate_size: int = 256
    max_positions: int = 1024
    initial_bias: Number = -4.0
    similarity_scale: Number = 4.0
    k1: Number = 1.2
    b: Number = 0.75
    average_length: Number = 170.0
    neighbours: int = 8
    """Inflections of one stem, most frequent first, that an occurring term may add."""
    neighbour_gain: Number = 0.7
    piece_weight: Number = 0.6
    """Factor on the query weight of word pieces (`##...`) at the start."""
    lexicon: Literal["stems", "none"] = "stems"
    """`stems` (inflections, stop words dropped) or `none` (the plain lexical floor)."""
    idf_power: Number = 0.0
    """Weight of a text source in the IDF: its size to this power (0: all sources alike)."""
    embedding_tokens: int = 50_000_000
    contextual: bool = True
    """False: only the lexical channel and the query table; no transformer, very fast."""
    expansion: bool = True
    """False: the transformer weighs the terms of the lexical channel but adds none; no product with the vocabulary."""
    importance_share: Number = 1.0
    """Share of the learned token importance that is kept: an average with the start in weight space (arXiv 2109.01903)."""


Model = Annotated[PretrainedModel | SmallModel | LexicalModel, Field(discriminator="kind")]

# -- [queries]: how queries are encoded -----------------------------------------------------------------------------------


class SharedQueries(Section):
    """By the network of the documents."""

    kind: Literal["shared"] = "shared"


class SeparateQueries(Section):
    """By a network of their own (Efficient SPLADE, SIGIR 2022)."""

    kind: Literal["separate"] = "separate"
    path: str | None = None
    """A folder or a hub id; None: a copy of the document network at its start."""


class TableQueries(Section):
    """By a weight for each term that occurs, without a network (arXiv 2411.04403; learned: arXiv 2505.01452)."""

    kind: Literal["table"] = "table"
    learned: bool = True
    idf: str | None = None
    """JSON of token -> weight at the start; None: the IDF of the training passages."""


Queries = Annotated[SharedQueries | SeparateQueries | TableQueries, Field(discriminator="kind")]


class SparseEmbed(Section):
    """A small contextual embedding for each kept term (SparseEmbed, SIGIR 2023)."""

    size: Count = 64
    terms_query: Count = 64
    """Terms with an embedding, the heaviest ones."""
    terms_document: Count = 256
    sparse_weight: Number = 0.1
    """Of the same losses on the plain sparse scores."""


# -- what is minimised ----------------------------------------------------------------------------------------------------


class Ranking(Section):
    """The ranking losses, as a weighted sum."""

    losses: dict[str, Number]
    """Weights of `contrastive`, `margin_mse` and `kl`."""
    candidates: CandidateSet = "all"
    """Whom each query's positive is ranked against: `own`, `positives`, `hard` or `all` (losses.py)."""
    score_scale: Positive = 1.0
    """Scores are multiplied by this before the losses (1 / temperature)."""
    teacher_temperature: Positive = 1.0
    kl_temperature: Positive = 1.0
    learned_scale: bool = False
    """A factor on the scores that is learned for each source of the data."""
    bm25_teacher: bool = False
    """The teacher is stemmed BM25 on the training passages."""


class Sparsity(Section):
    """The regulariser of one side, [sparsity.query] or [sparsity.document]."""

    regularizer: Regularizer
    """`flops`, `l1`, `l0_flops` (rows of few terms are exempt) or `df_flops` (frequent terms cost more)."""
    weight: Number | None = None
    """lambda; or give target_terms."""
    ramp_steps: Natural = 0
    """Optimiser steps of the quadratic rise of lambda."""
    convention: Convention = "averaged"
    """Groups of documents: `averaged` (FLOPS of positives and of negatives, averaged), `stacked` or `summed`."""
    threshold: int = 150
    """l0_flops: rows with no more terms than this are exempt."""
    df_alpha: Number = 0.1
    """df_flops: document share at which a term's weight is 1/2."""
    df_beta: Number = 10.0
    """df_flops: steepness."""
    df_every: int = 100
    """df_flops: optimiser steps between two estimates of document frequencies."""
    target_terms: Number | None = None
    """Terms a text that lambda is steered to."""
    gain: Number = 0.02
    """Of the controller: change of log lambda for an error of one in log terms, each step."""


class SparsitySections(Section):
    """[sparsity]: a regulariser for each side; None: none."""

    query: Sparsity | None = None
    document: Sparsity | None = None


# -- how --------------------------------------------------------------------------------------------------------------


class Training(Section):
    """Steps, batches, lengths and numbers."""

    steps: Count
    """Optimiser steps."""
    batch_queries: Count
    """Queries of one batch, over all processes."""
    length_query: int
    """Tokens, special ones included, while training."""
    length_document: int
    accumulation: Count = 1
    """Batches a step, each with its own in-batch negatives and its own FLOPS."""
    gradcache_chunk: Annotated[int, Field(ge=2)] | None = None
    """Texts, queries and documents together, held in memory at a time; negatives and FLOPS stay whole (arXiv 2101.06983)."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """`float32`, `bfloat16` or `float16` (activations and losses are float32 always)."""
    gradient_norm: Positive = 1.0
    workers: Natural = 0
    """Processes that read and tokenise ahead."""
    threads: int | None = None


class Optimizer(Section):
    """AdamW and its learning rate: up over `warmup_steps`, then down."""

    lr: Positive
    weight_decay: NotNegative = 0.01
    epsilon: Positive = 1e-8
    warmup_steps: Natural = 0
    decay: Literal["linear", "constant"] = "linear"
    """`linear` or `constant`."""
    decay_steps: Count | None = None
    """Step at which the linear decay reaches its floor; None: the last step."""
    floor: Number = 0.0
    """Share of the learning rate that the decay never goes below."""
    lr_of: dict[str, Number] = Field(default_factory=dict)
    """Learning rate of a parameter group of its own (the model names them); these have no weight decay."""
    anchor: dict[str, Number] = Field(default_factory=dict)
    """Decoupled decay of a parameter group towards its start, per unit of learning rate."""


class Encoding(Section):
    """How the saved model encodes."""

    max_length_query: int
    max_length_document: int
    normalization: Literal["NFC", "NFKC"] = "NFC"
    lowercase: bool = False
    min_weight_document: Number = 0.0
    min_weight_query: Number = 0.0
    max_active_terms_document: int | None = None
    max_active_terms_query: int | None = None
    storage: Literal["float32", "float16", "int8"] = "float32"
    """Of the saved weights: "float32", "float16" or "int8"; the rounded model is measured before it is saved."""
    onnx: bool = False
    """An ONNX graph beside the weights."""


class CollectionFiles(Section):
    """A validation or test collection in files: MS MARCO (TSV), BEIR (JSONL), TREC qrels."""

    name: str
    collection: str
    queries: str
    qrels: str
    sample_documents: Count | None = None
    """Only the judged documents and this many others, drawn with the recipe's seed (a validation index that fits)."""
    sample_queries: Count | None = None


class Validation(Section):
    """What is measured while training, and what follows from it."""

    every: Count
    """Optimiser steps between two measurements; a checkpoint is saved at each."""
    splits: tuple[str, ...] = ()
    """`collection:split` of BEIR folders, e.g. `faquad:dev`. A test split is refused."""
    files: tuple[CollectionFiles, ...] = ()
    metric: str = "nDCG@10"
    """Any measure of ir-measures with a cut-off, e.g. `RR@10`."""
    max_terms_document: Number | None = None
    """A checkpoint with more terms per document than this is never chosen."""
    max_terms_query: Number | None = None
    max_split_loss: Number | None = None
    """A checkpoint that is below the start by more than this on any split is never chosen; None: the mean decides alone."""
    patience: Count | None = None
    """Measurements without a new best after which the run ends early."""
    max_empty_share: Number = 0.5
    """A run whose vectors are empty to a larger share than this, twice in a row, has collapsed and is stopped."""


class Recipe(Section):
    """A whole recipe."""

    name: str
    seed: int
    data: Data
    model: Model
    ranking: Ranking
    training: Training
    optimizer: Optimizer
    encoding: Encoding
    validation: Validation
    queries: Queries = Field(default_factory=SharedQueries)
    sparse_embed: SparseEmbed | None = None
    sparsity: SparsitySections = Field(default_factory=SparsitySections)
    note: str = ""
    """What a reader of the model card must know: where the settings come from, how they were chosen."""
    cost: str = ""
    """What a run is expected to cost, and on which hardware."""
