"""Everything that a model of words is made of before its gate is trained."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from splade_ptbr_connectors.encoding.config import WordSettings
from splade_ptbr_connectors.encoding.thesaurus import Integers, Thesaurus
from splade_ptbr_connectors.encoding.words import Words
from splade_ptbr_connectors.evaluation.collections import BeirFolder, read_beir
from splade_ptbr_connectors.evaluation.files import bad_line
from splade_ptbr_connectors.evaluation.qrels import Qrels
from splade_ptbr_connectors.sources import Broken, open_source
from training.data.held_out import split_train
from training.data.vocabulary import read_vocabulary
from training.recipe.words import WordsData, WordsModel, WordsRecipe
from training.words.counts import as_int8, idf, read_paragraphs, term_matrix, word_vectors
from training.words.thesaurus import Line, build_thesaurus, read_thesaurus
from training.words.vocabulary import Vocabulary, build_vocabulary, words_of

logger = logging.getLogger(__name__)
_AT_ONCE = 20_000


@dataclass(frozen=True)
class TrainCollection:
    """A collection for training: the documents that no held-out, dev or test query is about, and the queries about these."""

    folder: BeirFolder
    documents: dict[str, str]
    queries: list[tuple[str, tuple[str, ...]]]
    """(text, relevant document ids)."""
    held_out: Qrels


@dataclass(frozen=True)
class Material:
    """What is counted; V tokens, W terms with a vector."""

    vocabulary: Vocabulary
    tokenizer: Tokenizer
    words: Words
    weights: NDArray[np.float32]  # [V] IDF of terms, a share of it of forms, 0 for what queries never have
    vectors: NDArray[np.int8]  # [W, D]
    thesaurus: Thesaurus
    collections: list[TrainCollection]

    @property
    def sizes(self) -> dict[str, int]:
        """How much there is of everything."""
        thesaurus = self.thesaurus
        senses, expressions = len(thesaurus.senses.sizes), len(thesaurus.expressions.sizes)
        terms = int(np.count_nonzero(self.weights[self.vocabulary.are_terms]))
        return {"terms": terms, "senses": senses, "expressions": expressions}

    def terms(self, texts: Sequence[str]) -> list[Integers]:
        """Terms of each text, in order."""
        return [self.words.terms(encoding.ids) for encoding in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def gather(recipe: WordsRecipe, data_dir: Path) -> Material:
    """Reads and counts everything that a recipe names."""
    section = recipe.model
    collections = read_collections(recipe.data, data_dir)
    lines = read_thesaurus(data_dir / section.thesaurus) if section.thesaurus else []
    paragraphs = read_paragraphs(data_dir / recipe.data.texts, recipe.data.paragraphs)
    passages = list(dict.fromkeys(text for one in collections for text in _passages(one)))
    vocabulary = _vocabulary(recipe, data_dir, [*paragraphs, *passages], lines, collections)
    tokenizer = vocabulary.tokenizer()
    words = Words(np.array(vocabulary.terms, np.int32), word_settings(section), tokenizer)
    logger.info("vocabulary of %d tokens, %d terms", len(vocabulary.tokens), len(set(vocabulary.terms)) - 1)

    def found(texts: Sequence[str]) -> tuple[list[Integers], list[Integers]]:
        parts = [texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE)]
        encodings = (e for part in parts for e in tokenizer.encode_batch_fast(list(part), add_special_tokens=False))
        pairs = [words.terms_and_forms(e.ids) for e in encodings]
        return [terms for terms, _ in pairs], [forms for _, forms in pairs]

    def terms(texts: Sequence[str]) -> list[Integers]:
        return found(texts)[0]

    size = len(vocabulary.tokens)
    of_texts, forms = found([*paragraphs, *passages])
    counted = term_matrix(of_texts, size)
    entries = term_matrix(terms([" ".join(word for word, _ in line.members()) for line in lines]), size)
    in_forms = section.forms * idf(term_matrix(forms, size)) if section.forms else 0
    weights = np.where(vocabulary.are_terms, idf(counted), np.where(vocabulary.are_forms, in_forms, 0)).astype(np.float32)
    vectors = _vectors(counted, entries, section.vector_size, recipe.seed)
    thesaurus = build_thesaurus(lines, terms, size)
    logger.info("thesaurus of %d expressions in %d senses", len(thesaurus.expressions.sizes), len(thesaurus.senses.sizes))
    return Material(vocabulary, tokenizer, words, weights, vectors, thesaurus, collections)


def word_settings(section: WordsModel) -> WordSettings:
    """As the model has them."""
    given = {name: getattr(section, name) for name in ("k1", "b", "average_length", "inflections")}
    return WordSettings(**given, forms=section.forms > 0)


def _vectors(counted: object, entries: object, size: int, seed: int) -> NDArray[np.int8]:
    from scipy import sparse

    vectors = as_int8(word_vectors(sparse.vstack([counted, entries, entries]).tocsr(), size, seed=seed))
    some = np.flatnonzero(vectors.any(axis=1))
    return vectors[: some.max(initial=-1) + 1]


def _vocabulary(
    recipe: WordsRecipe, data_dir: Path, texts: list[str], lines: Iterable[Line], collections: list[TrainCollection]
) -> Vocabulary:
    common: Counter[str] = Counter()
    for text in texts:
        common.update(words_of(text))
    expressions = [word for line in lines for word, _ in line.members()]
    queries = [query for one in collections for query, _ in one.queries]
    always = {word for text in (*expressions, *queries) for word in words_of(text)}
    common.update(always)
    pieces = read_vocabulary(data_dir / recipe.model.pieces)
    return build_vocabulary(common, always, pieces, min_count=recipe.model.min_count, largest=recipe.model.words)


# -- judged queries -------------------------------------------------------------------------------------------------------


def read_collections(section: WordsData, data_dir: Path) -> list[TrainCollection]:
    """The train splits, with the further queries of `section.queries`."""
    further = read_further_queries(data_dir / section.queries) if section.queries else {}
    return [_collection(data_dir / name, section.held_out.get(name, 0.0), further.get(name, [])) for name in section.collections]


def read_further_queries(path: Path) -> dict[str, list[tuple[str, str]]]:
    """(query, id of its passage) by collection. Raises InputFileError, naming file and line."""
    further: dict[str, list[tuple[str, str]]] = {}
    for row in open_source(path, format="jsonl"):
        if isinstance(row, Broken):
            bad_line(path, row.line, row.reason)
        values = [row.raw.get(name) for name in ("collection", "query", "passage")] if isinstance(row.raw, dict) else []
        if not (values and all(isinstance(value, str) and value.strip() for value in values)):
            bad_line(path, row.line, 'expected {"collection", "query", "passage"} with texts that are not empty.')
        further.setdefault(values[0], []).append((values[1], values[2]))
    return further


def _collection(path: Path, share: float, further: list[tuple[str, str]]) -> TrainCollection:
    folder = read_beir(path)
    training, held_out = split_train(folder, share)
    others = [qrels for name, qrels in folder.qrels.items() if name != "train"] + [held_out]
    kept_out = {document for qrels in others for judged in qrels.values() for document in judged}
    documents = {document: text for document, text in folder.documents.items() if document not in kept_out}
    queries = [(folder.queries[query], tuple(d for d in judged if d in documents)) for query, judged in training.items()]
    queries += [(query, (passage,)) for query, passage in further if passage in documents]
    return TrainCollection(folder, documents, [(query, relevant) for query, relevant in queries if relevant], held_out)


def _passages(collection: TrainCollection) -> Iterable[str]:
    """The documents that training queries are about."""
    about = dict.fromkeys(document for _, relevant in collection.queries for document in relevant)
    return (collection.documents[document] for document in about)
