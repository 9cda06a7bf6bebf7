"""A whole run of a recipe of words: what is counted, the gate, a log, and the folder that the package loads."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from splade_ptbr_connectors.cores import cores
from splade_ptbr_connectors.encoding.config import EncoderConfig, QuerySettings
from splade_ptbr_connectors.encoding.edge_features import Describer
from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.encoding.folder import CONCEPTS_FOLDER
from splade_ptbr_connectors.encoding.runtime import threads_given
from splade_ptbr_connectors.encoding.sentence_transformers_writer import write_reference_to_this_package
from splade_ptbr_connectors.encoding.tensors import unit_vectors
from splade_ptbr_connectors.errors import ConfigError, TrainingError
from splade_ptbr_connectors.evaluation.collections import JudgedCollection, read_beir
from splade_ptbr_connectors.text import MAX_CHARACTERS
from training.data.held_out import held_out_collection
from training.measure.saved_models import evaluate
from training.measure.validation import Measured
from training.models.pack import RECIPE_FILE, put
from training.recipe.concepts import Concepts
from training.recipe.file import recipe_table
from training.recipe.words import Blind, WordsRecipe
from training.runlog import FILE_NAME, RunLog
from training.runlog.surroundings import surroundings
from training.words.concepts.learn import Learned, learn_concepts
from training.words.fit import Epoch, fit, searched, word_scores
from training.words.gate import Gate, Tables, blind_gate
from training.words.material import Material, gather, word_settings
from training.words.vocabulary import Vocabulary

logger = logging.getLogger(__name__)
METRIC = "nDCG@10"
MODEL = "model"
QUERY_FILE = "expansion.safetensors"
Tensors = dict[str, NDArray[Any]]


def train_words(recipe: WordsRecipe, data_dir: Path, out: Path, *, resume: bool = False) -> Path:
    """Makes the model of a recipe in the folder `out`; the model's folder.

    Args:
        resume: `out` may hold a run that was cut off: what it learned of concepts, which takes hours, is not learned again.

    Raises:
        ConfigError: `out` holds a run already, or a run to go on with that was of another recipe.
        InputFileError: a file of the data that is missing or broken.
    """
    if (out / FILE_NAME).exists():
        if not resume:
            raise ConfigError(f"{out} holds a run already: choose another --out, go on with it (--resume), or delete it")
        (out / FILE_NAME).unlink()
    torch.set_num_threads(recipe.threads)
    material = gather(recipe, data_dir)
    run = _Run(recipe, material, validation_collections(recipe, material, data_dir), data_dir, out)
    with RunLog(out / FILE_NAME) as run.log:
        run.begin()
        run.make()
    return out / MODEL


class _Run:
    log: RunLog

    def __init__(self, recipe: WordsRecipe, material: Material, validation: Sequence[JudgedCollection], data_dir: Path, out: Path) -> None:
        self.recipe, self.material, self.validation, self.data_dir, self.out = recipe, material, validation, data_dir, out
        self._learned: Learned | None = None

    def begin(self) -> None:
        """Logs what the run is, and measures the model that adds nothing to queries."""
        sizes = {c.folder.name: {"queries": len(c.queries), "documents": len(c.documents)} for c in self.material.collections}
        data = {"sources": sizes, "vocab_size": len(self.material.vocabulary.tokens)} | self.material.sizes
        self.log.append({"event": "start", "recipe": recipe_table(self.recipe), "data": data, **surroundings()})
        self._save({})
        self._validate(0)

    def make(self) -> None:
        """Trains what is to be trained, and saves and measures the result."""
        section, step, gate = self.recipe.expansion, 0, Tensors()
        if isinstance(section, Blind):
            gate = blind_gate(section.equivalents, section.related, self.material.vectors.shape[1])
            self._save(gate)
        elif section is not None:
            self._section = section
            describer = Describer(self.material.thesaurus, self.material.weights, unit_vectors(self.material.vectors))
            collections = [searched(self.material, one, describer) for one in self.material.collections]
            tables = Tables(torch.from_numpy(self.material.weights), torch.from_numpy(describer.expressions))
            fitted = fit(collections, tables, section, self.recipe.data.share, seed=self.recipe.seed, after_epoch=self._after_epoch)
            gate, step = fitted.tensors(section.added), self.step
        if self.recipe.concepts is not None:
            self._learn_concepts(self.recipe.concepts)
            self._save(gate)
        self._validate(step, packed=True)
        self.log.append({"event": "end", "reason": "every step was done", "step": step, "best_step": step})

    def _learn_concepts(self, section: Concepts) -> None:
        """Learns them, on every core that it may use, beside the words of the model as it is saved."""
        words = SpladeEncoder.load(self.out / MODEL)
        scores = [word_scores(words, one) for one in self.material.collections]
        threads = torch.get_num_threads()
        torch.set_num_threads(threads_given() or cores())
        try:
            self._learned = learn_concepts(self.recipe, section, self.material, scores, self.data_dir, self.out)
        finally:
            torch.set_num_threads(threads)

    def _after_epoch(self, gate: Gate, epoch: Epoch) -> None:
        self.step = epoch.step
        row = {
            "event": "step",
            "step": epoch.step,
            "loss": epoch.loss,
            "l1_query": epoch.l1,
            "scale": epoch.scale,
            "seconds": epoch.seconds,
        }
        self.log.append(row)
        if not np.isfinite(epoch.loss):
            raise TrainingError(f"the loss of epoch {epoch.number} is {epoch.loss}: the run has diverged; train with a lower expansion.lr")
        self._save(gate.tensors(self._section.added))
        if epoch.number % self.recipe.validation.every == 0:
            self._validate(epoch.step)

    def _save(self, gate: Tensors) -> None:
        """Writes the model folder with a gate, or without one: a table of weights; and with concepts, once they are learned."""
        save_model(self.recipe, self.material, gate, self.out / MODEL, self._learned)

    def _validate(self, step: int, *, packed: bool = False) -> None:
        if not self.validation:
            return
        began, encoder = time.monotonic(), SpladeEncoder.load(self.out / MODEL)
        measured = [evaluate(encoder, collection, [METRIC])[0] for collection in self.validation]
        mean = float(np.mean([one.quality for one in measured]))
        row = {"event": "validation", "step": step, "metric": METRIC, "mean": mean, "seconds": time.monotonic() - began, "packed": packed}
        kinds = [one.by_kind(collection.kinds) for one, collection in zip(measured, self.validation, strict=True)]
        splits = {one.name: one.to_dict(encoder.token) | {"kinds": kind} for one, kind in zip(measured, kinds, strict=True)}
        self.log.append(row | {"splits": splits})
        logger.info("step %d: mean %s %.4f; %s", step, METRIC, mean, _listed(measured))


def _listed(measured: Sequence[Measured]) -> str:
    return ", ".join(f"{one.name} {one.quality:.4f} ({one.terms_query:.0f} terms)" for one in measured)


def validation_collections(recipe: WordsRecipe, material: Material, data_dir: Path) -> list[JudgedCollection]:
    """The splits that a recipe names, by kind of query where queries have kinds, and what is held out of the train splits."""
    found = [held_out_collection(one.folder, one.held_out) for one in material.collections if one.held_out]
    for name in recipe.validation.splits:
        folder, _, split = name.partition(":")
        found.append(read_beir(data_dir / folder).split(split))
    return found


def save_model(recipe: WordsRecipe, material: Material, gate: Tensors, folder: Path, learned: Learned | None = None) -> None:
    """Writes the folder of a model, beside its place, then moves it there: whole or not at all."""
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    concepts, vocabulary, weights = None, material.vocabulary, material.weights
    if learned is not None:
        concepts = learned.settings
        shutil.copytree(learned.folder, partial / CONCEPTS_FOLDER, dirs_exist_ok=True)
        vocabulary = Vocabulary([*vocabulary.tokens, *learned.names], [*vocabulary.terms, *[-1] * len(learned.names)])
        weights = np.append(weights, np.zeros(len(learned.names), np.float32))
    settings = word_settings(recipe.model)
    config = EncoderConfig(
        vocab_size=len(vocabulary.tokens),
        max_length_query=MAX_CHARACTERS,
        max_length_document=MAX_CHARACTERS,
        query=QuerySettings(kind="expansion" if gate else "table", file=QUERY_FILE, min_weight_added=recipe.model.min_weight_added),
        words=settings,
        concepts=concepts,
        max_active_terms_query=recipe.model.max_terms_query,
        min_weight_query=recipe.model.min_weight_query,
    )
    config.write(partial)
    write_reference_to_this_package(partial)
    vocabulary.tokenizer().save(str(partial / "tokenizer.json"), pretty=False)
    save_file({"terms": np.array(vocabulary.terms, np.int32)}, partial / settings.file)
    queries: Tensors = {"weights": weights.astype(np.float16)}
    if gate:
        queries |= {"vectors": material.vectors} | material.thesaurus.tensors() | gate
    save_file(queries, partial / QUERY_FILE)
    (partial / RECIPE_FILE).write_text(json.dumps(recipe_table(recipe), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    put(partial, folder)
