"""All of a model's concepts: texts, the teacher's embeddings, the student, the similarity, the directions and their names."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from tokenizers import Tokenizer

from splade_ptbr_connectors.encoding.config import ConceptSettings
from splade_ptbr_connectors.encoding.tensors import unit_vectors
from splade_ptbr_connectors.errors import ConfigError
from training.recipe.concepts import Concepts
from training.recipe.file import recipe_table
from training.recipe.words import WordsRecipe
from training.words.concepts.directions import Directions, Embedded, fit_directions, start_directions
from training.words.concepts.moments import moments_of
from training.words.concepts.names import names_of
from training.words.concepts.pieces import fewer_pieces
from training.words.concepts.save import save_concepts
from training.words.concepts.similarity import Judged, fit_similarity
from training.words.concepts.student import Side, distil, round_student, student_of
from training.words.concepts.teacher import Embeddings, SentenceEncoder, embed_all, mean_of, tokenized
from training.words.concepts.texts import Texts, gather_texts
from training.words.concepts.tune import Tuned, tune
from training.words.counts import vectors_matrix
from training.words.fit import relevant_columns
from training.words.material import Material, TrainCollection

logger = logging.getLogger(__name__)
FOLDER = "concepts"
_IDENTITY, _FILES = "recipe.json", "files"
_LEARNED_FROM = ("seed", "data", "model", "expansion", "concepts")
"""Of a recipe: another text makes other pieces, for which a student's checkpoint is none, another gate other scores of words."""


@dataclass(frozen=True)
class Learned:
    """A folder of files for a model's subfolder `concepts`, what they are, and a name for each concept."""

    folder: Path
    settings: ConceptSettings
    names: list[str]


def learn_concepts(
    recipe: WordsRecipe, section: Concepts, material: Material, word_scores: Sequence[NDArray[np.float32]], data_dir: Path, out: Path
) -> Learned:
    """Everything from texts to names; what `out` holds of an earlier run of the same recipe is not done again.

    Args:
        word_scores: [Q, D] of each collection's queries and documents.

    Raises:
        ConfigError: `out` holds what another recipe has learned, or the teacher is not there.
        InputFileError: a file of the data that is missing or broken.
        TrainingError: the student diverges.
    """
    folder, teacher = out / FOLDER, data_dir / section.teacher
    if not (teacher / "config.json").is_file():
        raise ConfigError(f"no sentence encoder in {teacher}: see training/README.md for how to get one, or set concepts.teacher")
    _same_recipe(recipe, folder)
    thesaurus = data_dir / recipe.model.thesaurus if recipe.model.thesaurus else None
    texts = gather_texts(section, material.collections, thesaurus, data_dir / recipe.data.texts, data_dir)
    logger.info("%d queries and %d passages to learn from", len(texts.queries), len(texts.documents))
    whole = Tokenizer.from_file(str(teacher / "tokenizer.json"))
    taught = [
        embed_all(rows, lambda: SentenceEncoder.read(teacher), folder, what=f"teacher-{side}")
        for side, rows in zip(("queries", "documents"), _rows(whole, texts, section), strict=True)
    ]
    pieces, ids = fewer_pieces(teacher, [*texts.queries, *texts.documents], section.pieces)
    rows = _rows(pieces, texts, section)
    sides = Side(rows[0], taught[0]), Side(rows[1], taught[1])
    torch.manual_seed(section.seed)
    student = student_of(teacher, ids, section.layers)
    distil(student, sides, section, folder)
    _tune(student, material.collections, texts, sides, word_scores, recipe, section, folder)
    round_student(student)
    found = [embed_all(side.rows, lambda: student, folder, what=f"student-{n}") for n, side in enumerate(sides)]
    centres = mean_of(found[0]), mean_of(found[1])
    queries, documents = (_centred(rows, centre) for rows, centre in zip(found, centres, strict=True))
    similarity = fit_similarity(_judged(material.collections, texts, queries, documents, word_scores), recipe.data.share, section)
    terms = vectors_matrix(material.words.counted(material.terms(texts.documents)), len(material.weights))
    embedded = Embedded(queries[: texts.asked], documents, texts.of_collections)
    directions = fit_directions(start_directions(documents, terms, section.size), similarity, embedded, section)
    codes = _codes(directions, documents)
    names = names_of(codes, terms @ sparse.diags(material.weights), material.vocabulary.tokens)
    moments = moments_of(codes, documents, similarity)
    settings = save_concepts(student, pieces, directions, moments, centres, section, folder / _FILES)
    return Learned(folder / _FILES, settings, names)


def _same_recipe(recipe: WordsRecipe, folder: Path) -> None:
    whole = recipe_table(recipe)
    path, table = folder / _IDENTITY, {name: whole[name] for name in _LEARNED_FROM}
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != table:
        raise ConfigError(
            f"{folder} holds what a recipe with another seed, expansion, data or concepts has learned: choose another --out, or delete it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")  # a run that is cut off here leaves no half of it, which no later run could read
    partial.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _rows(tokenizer: Tokenizer, texts: Texts, section: Concepts) -> tuple[list[list[int]], list[list[int]]]:
    return (
        tokenized(tokenizer, texts.queries, section.prompt_query, section.max_length_query),
        tokenized(tokenizer, texts.documents, section.prompt_document, section.max_length_document),
    )


def _centred(rows: Embeddings, centre: NDArray[np.float32]) -> NDArray[np.float32]:
    return unit_vectors(rows.astype(np.float32) - centre)


def _tune(
    student: SentenceEncoder,
    collections: Sequence[TrainCollection],
    texts: Texts,
    sides: tuple[Side, Side],
    word_scores: Sequence[NDArray[np.float32]],
    recipe: WordsRecipe,
    section: Concepts,
    folder: Path,
) -> None:
    """Round by round, in place; the first one is held to the teacher's embeddings, each later one to the student's before it."""
    centres = sides[0].centre, sides[1].centre
    counts = texts.of_collections, texts.documents_of_collections
    queries, documents = dict(zip(texts.queries, sides[0].rows, strict=True)), dict(zip(texts.documents, sides[1].rows, strict=True))
    pairs = [queries[query] for query, _ in texts.pairs], [documents[document] for _, document in texts.pairs]
    held_to = [side.taught[:count] for side, count in zip(sides, counts, strict=True)]
    for number in range(1, section.tuning_rounds + 1):
        rows = (_centred(embeddings, centre) for embeddings, centre in zip(held_to, centres, strict=True))
        judged = _judged(collections, texts, *rows, word_scores)
        tuned = [
            Tuned(one, [queries[query] for query, _ in read.queries], [documents[document] for document in read.documents.values()])
            for one, read in zip(judged, collections, strict=True)
        ]
        tune(student, tuned, pairs, centres, recipe.data.share, section, folder / f"tuned-{number}.pt")
        if number < section.tuning_rounds:
            held_to = [
                embed_all(side.rows[:count], lambda: student, folder, what=f"tuned-{number}-{n}")
                for n, (side, count) in enumerate(zip(sides, counts, strict=True))
            ]


def _judged(
    collections: Sequence[TrainCollection],
    texts: Texts,
    queries: NDArray[np.float32],
    documents: NDArray[np.float32],
    word_scores: Sequence[NDArray[np.float32]],
) -> list[Judged]:
    """The embeddings of judged queries and their collections, found by their texts, of which these come first."""
    of_query, of_document = dict(zip(texts.queries, queries, strict=False)), dict(zip(texts.documents, documents, strict=False))
    return [
        Judged(
            one.folder.name,
            np.array([of_query[query] for query, _ in one.queries]),
            np.array([of_document[document] for document in one.documents.values()]),
            scores,
            relevant_columns(one),
        )
        for one, scores in zip(collections, word_scores, strict=True)
    ]


@torch.inference_mode()
def _codes(directions: Directions, documents: NDArray[np.float32]) -> sparse.csr_matrix:
    parts: Sequence[sparse.csr_matrix] = [
        sparse.csr_matrix(directions.documents(torch.from_numpy(documents[start : start + 1024])).numpy())
        for start in range(0, len(documents), 1024)
    ]
    return sparse.vstack(parts).tocsr()
