"""The sections of a recipe: frozen, typed. What a key does not do here, it does nowhere (reading.py, effects.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

# -- [data]: where batches come from; one class per `kind` ----------------------------------------------------------------


@dataclass(frozen=True)
class CollectionsData:
    """BEIR folders, weak pairs and running text, mixed; hard negatives by stemmed BM25."""

    kind: ClassVar[str] = "collections"
    collections: tuple[str, ...]
    """BEIR folders, relative to the data folder, whose train split is used."""
    held_out: dict[str, float] = field(default_factory=dict)
    """Share of a collection's train split, its last queries and their passages, kept for validation."""
    pairs: str | None = None
    """JSONL of {"query", "positive", "source"}: the source `weak`."""
    texts: str | None = None
    """Folder of text files; needed by `cloze_texts`."""
    cloze_texts: tuple[str, ...] = ()
    """Text files from which sentence -> rest of the passage pairs are made: the source `cloze`."""
    cloze_limit: int = 3000
    """Pairs per text file."""
    mixture: dict[str, float] = field(default_factory=dict)
    """Share of the batches of each source: a collection, `weak` or `cloze`."""
    negatives: int = 0
    """Hard negatives of each query, drawn from what stemmed BM25 finds best; in small sources only."""
    fill_documents: int = 0
    """Columns that a batch is filled up to: mined passages of its queries first, then others of the source."""


@dataclass(frozen=True)
class TripletsData:
    """MS MARCO / mMARCO: a file of id triplets (memory-mapped after a conversion), texts by byte offset."""

    kind: ClassVar[str] = "triplets"
    collection: str
    """`doc_id<TAB>text`; a `.gz` is not accepted, texts are read by offset."""
    queries: str
    """`query_id<TAB>text`."""
    triples: str
    """`query_id<TAB>positive_id<TAB>negative_id`."""
    qrels: str | None = None
    """Known positives: never negatives of their query."""
    limit: int | None = None
    """Only the first so many triplets."""


@dataclass(frozen=True)
class TripletTextsData:
    """A file of text triplets: `query<TAB>positive<TAB>negative`."""

    kind: ClassVar[str] = "triplet_texts"
    triples: str
    limit: int | None = None


@dataclass(frozen=True)
class ScoredData:
    """JSONL with mined negatives and, where a teacher was asked, its scores (what `mine` and `score` write)."""

    kind: ClassVar[str] = "scored"
    path: str
    """{"query_id"?, "query", "documents": [positive, negative, ...], "doc_ids"?, "positives"?: [...], "scores"?: [...]} a line."""
    collection: str | None = None
    """`doc_id<TAB>text`, or a BEIR corpus.jsonl, when the lines name documents by id."""
    queries: str | None = None
    """`query_id<TAB>text`, or a BEIR queries.jsonl, when the lines name queries by id."""
    negatives: int = 1
    """Drawn for each query from those of its line."""


@dataclass(frozen=True)
class HubData:
    """A dataset of the Hugging Face hub (or a local folder that `datasets` reads), by columns."""

    kind: ClassVar[str] = "hub"
    dataset: str
    split: str = "train"
    subset: str | None = None
    query: str = "query"
    positive: str = "positive"
    negatives: tuple[str, ...] = ("negative",)
    """Columns of texts or of lists of texts; none: in-batch negatives only."""
    scores: str | None = None
    """Column with a list of teacher scores: of the positive, then of each negative."""


Data = CollectionsData | TripletsData | TripletTextsData | ScoredData | HubData

# -- [model] --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PretrainedModel:
    """A masked language model or a T5 encoder of a folder or of the hub."""

    kind: ClassVar[str] = "pretrained"
    path: str
    """A folder or a hub id."""
    revision: str | None = None
    pooling: str = "max"
    activation: str = "log1p_relu"
    """`log1p_relu`, or `log1p_log1p_relu` (Shen et al., arXiv 2504.14839)."""
    pool_special_tokens: bool = True
    """Whether the positions of [CLS], [SEP] ... take part in the pooling, as they do in SPLADE."""
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class SmallModel:
    """A masked language model made here: embeddings counted on text, then layers that start as the identity."""

    kind: ClassVar[str] = "small"
    vocabulary: str
    texts: str
    """Folder of text files whose co-occurrences give the embeddings."""
    hidden_size: int = 128
    layers: int = 2
    heads: int = 4
    intermediate_size: int = 512
    max_positions: int = 512
    initial_bias: float = -1.0
    """Output bias: how far below zero the logits start."""
    similarity_scale: float = 4.0
    """Logit of a term with itself at the start, before the bias; of others, their cosine times this."""
    embedding_tokens: int = 12_000_000
    dropout: float = 0.0
    pooling: str = "max"
    activation: str = "log1p_relu"
    pool_special_tokens: bool = True


@dataclass(frozen=True)
class LexicalModel:
    """The shape of `mini`: a lexical channel that starts as BM25, weighed by a small network; queries by a table."""

    kind: ClassVar[str] = "lexical"
    vocabulary: str
    texts: str
    hidden_size: int = 128
    layers: int = 1
    heads: int = 4
    intermediate_size: int = 256
    max_positions: int = 1024
    initial_bias: float = -4.0
    similarity_scale: float = 4.0
    k1: float = 1.2
    b: float = 0.75
    average_length: float = 170.0
    neighbours: int = 8
    """Inflections of one stem, most frequent first, that an occurring term may add."""
    neighbour_gain: float = 0.7
    piece_weight: float = 0.6
    """Factor on the query weight of word pieces (`##...`) at the start."""
    lexicon: str = "stems"
    """`stems` (inflections, stop words dropped) or `none` (the plain lexical floor)."""
    idf_power: float = 0.0
    """Weight of a text source in the IDF: its size to this power (0: all sources alike)."""
    embedding_tokens: int = 50_000_000
    contextual: bool = True
    """False: only the lexical channel and the query table; no transformer, very fast."""
    expansion: bool = True
    """False: the transformer weighs the terms of the lexical channel but adds none; no product with the vocabulary."""
    importance_share: float = 1.0
    """Share of the learned token importance that is kept: an average with the start in weight space (arXiv 2109.01903)."""


Model = PretrainedModel | SmallModel | LexicalModel

# -- [queries]: how queries are encoded -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SharedQueries:
    """By the network of the documents."""

    kind: ClassVar[str] = "shared"


@dataclass(frozen=True)
class SeparateQueries:
    """By a network of their own (Efficient SPLADE, SIGIR 2022)."""

    kind: ClassVar[str] = "separate"
    path: str | None = None
    """A folder or a hub id; None: a copy of the document network at its start."""


@dataclass(frozen=True)
class TableQueries:
    """By a weight for each term that occurs, without a network (arXiv 2411.04403; learned: arXiv 2505.01452)."""

    kind: ClassVar[str] = "table"
    learned: bool = True
    idf: str | None = None
    """JSON of token -> weight at the start; None: the IDF of the training passages."""


Queries = SharedQueries | SeparateQueries | TableQueries


@dataclass(frozen=True)
class SparseEmbed:
    """A small contextual embedding for each kept term (SparseEmbed, SIGIR 2023)."""

    size: int = 64
    terms_query: int = 64
    """Terms with an embedding, the heaviest ones."""
    terms_document: int = 256
    sparse_weight: float = 0.1
    """Of the same losses on the plain sparse scores."""


# -- what is minimised ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ranking:
    """The ranking losses, as a weighted sum."""

    losses: dict[str, float]
    """Weights of `contrastive`, `margin_mse` and `kl`."""
    candidates: str = "all"
    """Whom each query's positive is ranked against: `own`, `positives`, `hard` or `all` (losses.py)."""
    score_scale: float = 1.0
    """Scores are multiplied by this before the losses (1 / temperature)."""
    teacher_temperature: float = 1.0
    kl_temperature: float = 1.0
    learned_scale: bool = False
    """A factor on the scores that is learned for each source of the data."""
    bm25_teacher: bool = False
    """The teacher is stemmed BM25 on the training passages."""


@dataclass(frozen=True)
class Sparsity:
    """The regulariser of one side, [sparsity.query] or [sparsity.document]."""

    regularizer: str
    """`flops`, `l1`, `l0_flops` (rows of few terms are exempt) or `df_flops` (frequent terms cost more)."""
    weight: float | None = None
    """lambda; or give target_terms."""
    ramp_steps: int = 0
    """Optimiser steps of the quadratic rise of lambda."""
    convention: str = "averaged"
    """Groups of documents: `averaged` (FLOPS of positives and of negatives, averaged), `stacked` or `summed`."""
    threshold: int = 150
    """l0_flops: rows with at most so many terms are exempt."""
    df_alpha: float = 0.1
    """df_flops: document share at which a term's weight is 1/2."""
    df_beta: float = 10.0
    """df_flops: steepness."""
    df_every: int = 100
    """df_flops: optimiser steps between two estimates of document frequencies."""
    target_terms: float | None = None
    """Terms a text that lambda is steered to."""
    gain: float = 0.02
    """Of the controller: change of log lambda for an error of one in log terms, each step."""


@dataclass(frozen=True)
class SparsitySections:
    query: Sparsity | None = None
    document: Sparsity | None = None


# -- how --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """Steps, batches, lengths and numbers."""

    steps: int
    """Optimiser steps."""
    batch_queries: int
    """Queries of one batch, over all processes."""
    length_query: int
    """Tokens, special ones included, while training."""
    length_document: int
    accumulation: int = 1
    """Batches a step, each with its own in-batch negatives and its own FLOPS."""
    gradcache_chunk: int | None = None
    """Texts, queries and documents together (2 or more), held in memory at a time; negatives and FLOPS stay whole (arXiv 2101.06983)."""
    precision: str = "float32"
    """`float32`, `bfloat16` or `float16` (activations and losses are float32 always)."""
    gradient_norm: float = 1.0
    workers: int = 0
    """Processes that read and tokenise ahead."""
    threads: int | None = None


@dataclass(frozen=True)
class Optimizer:
    """AdamW and its learning rate: up over `warmup_steps`, then down."""

    lr: float
    weight_decay: float = 0.01
    epsilon: float = 1e-8
    warmup_steps: int = 0
    decay: str = "linear"
    """`linear` or `constant`."""
    decay_steps: int | None = None
    """Step at which the linear decay reaches its floor; None: the last step."""
    floor: float = 0.0
    """Share of the learning rate that the decay never goes below."""
    lr_of: dict[str, float] = field(default_factory=dict)
    """Learning rate of a parameter group of its own (the model names them); these have no weight decay."""
    anchor: dict[str, float] = field(default_factory=dict)
    """Decoupled decay of a parameter group towards its start, per unit of learning rate."""


@dataclass(frozen=True)
class Encoding:
    """How the saved model encodes."""

    max_length_query: int
    max_length_document: int
    normalization: str = "NFC"
    lowercase: bool = False
    min_weight_document: float = 0.0
    min_weight_query: float = 0.0
    max_active_terms_document: int | None = None
    max_active_terms_query: int | None = None
    storage: str = "float32"
    """Of the saved weights: "float32", "float16" or "int8"; the rounded model is measured before it is saved."""
    onnx: bool = False
    """An ONNX graph beside the weights."""


@dataclass(frozen=True)
class CollectionFiles:
    """A validation or test collection in files: MS MARCO (TSV), BEIR (JSONL), TREC qrels."""

    name: str
    collection: str
    queries: str
    qrels: str
    sample_documents: int | None = None
    """Only the judged documents and so many others, drawn with the recipe's seed (a validation index that fits)."""
    sample_queries: int | None = None


@dataclass(frozen=True)
class Validation:
    """What is measured while training, and what follows from it."""

    every: int
    """Optimiser steps between two measurements; a checkpoint is saved at each."""
    splits: tuple[str, ...] = ()
    """`collection:split` of BEIR folders, e.g. `faquad:dev`. A test split is refused."""
    files: tuple[CollectionFiles, ...] = ()
    metric: str = "nDCG@10"
    """Any measure of ir-measures with a cut-off, e.g. `RR@10`."""
    max_terms_document: float | None = None
    """A checkpoint with more terms per document than this is never chosen."""
    max_terms_query: float | None = None
    max_split_loss: float | None = None
    """A checkpoint that is below the start by more than this on any split is never chosen; None: the mean decides alone."""
    patience: int | None = None
    """Measurements without a new best after which the run ends early."""
    max_empty_share: float = 0.5
    """A run whose vectors are empty to a larger share than this, twice in a row, has collapsed and is stopped."""


@dataclass(frozen=True)
class Recipe:
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
    queries: Queries = field(default_factory=SharedQueries)
    sparse_embed: SparseEmbed | None = None
    sparsity: SparsitySections = field(default_factory=SparsitySections)
    note: str = ""
    """What a reader of the model card must know: where the settings come from, how they were chosen."""
    cost: str = ""
    """What a run is expected to cost, and on what."""
