"""A recipe of words from its file to a folder that the package loads: the gate, its two ablations, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.errors import ConfigError
from training.recipe.file import load_recipe
from training.runlog import read_log
from training.words.counts import read_paragraphs
from training.words.material import TrainCollection, gather
from training.words.run import train_words

RECIPE = """
kind = "words"
name = "tiny"
seed = 1
cost = "seconds"
[data]
collections = ["toy"]
texts = "text"
queries = "more.jsonl"
held_out = { toy = 0.2 }
[model]
pieces = "vocab/vocab.txt"
thesaurus = "thesaurus.tsv"
vector_size = 4
average_length = 10.0
min_weight_query = 0.0
[expansion]
kind = "gate"
hidden = 6
projected = 2
epochs = 2
batch_queries = 8
"""


@pytest.fixture(scope="module")
def data(data_dir: Path) -> Path:
    (data_dir / "thesaurus.tsv").write_text("bicho do mar\tpeixe\toceano, água\nmestre\tprofessor\taula, escola\n", encoding="utf-8")
    lines = [{"collection": "toy", "passage": f"d{n}", "query": "mestre de bicho do mar"} for n in (1, 2)]
    (data_dir / "more.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return data_dir


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_a_run_is_logged_saved_and_the_same_again(recipe: Path, data: Path, tmp_path: Path) -> None:
    folders = [train_words(load_recipe(recipe), data, tmp_path / name) for name in ("one", "again")]
    one, again = map(SpladeEncoder.load, folders)
    assert one.fingerprint == again.fingerprint
    log = read_log(tmp_path / "one")
    assert (log.start.name, log.steps_done, [v.step for v in log.validations]) == ("tiny", log.steps.step[-1], [0, log.steps_done])
    assert log.packed is not None and list(log.packed.splits) == ["toy:held-out"]
    assert "professor" in dict(one.decode(one.encode_query("mestre")))


@pytest.mark.parametrize("expansion", ['{kind = "blind"}', None])
def test_ablations_learn_nothing(recipe: Path, data: Path, tmp_path: Path, expansion: str | None) -> None:
    path = tmp_path / "ablation.toml"
    drop = "" if expansion else '\ndrop = ["expansion", "model.thesaurus"]'
    path.write_text(f'extends = "{recipe}"{drop}', encoding="utf-8")
    made = train_words(load_recipe(path, [f"expansion = {expansion}"] if expansion else []), data, tmp_path / "out")
    found = dict(SpladeEncoder.load(made).decode(SpladeEncoder.load(made).encode_query("mestre")))
    assert ("professor" in found) == (expansion is not None) and read_log(tmp_path / "out").steps_done == 0


def test_forms_weigh_a_share_of_their_own_idf(recipe: Path, data: Path) -> None:
    half, none = (gather(load_recipe(recipe, [f"model.forms = {share}"]), data) for share in (0.5, 0.0))
    terms, forms = half.vocabulary.are_terms, half.vocabulary.are_forms
    texts = [*read_paragraphs(data / "text", 10**6), *dict.fromkeys(text for one in half.collections for text in about(one))]
    holding = np.array([sum(token in half.tokenizer.encode(text).ids for text in texts) for token in np.flatnonzero(forms).tolist()])
    np.testing.assert_allclose(half.weights[forms], 0.5 * np.log1p((len(texts) - holding + 0.5) / (holding + 0.5)), rtol=1e-5)
    assert forms.any() and (none.weights[forms] == 0).all()
    np.testing.assert_array_equal(half.weights[terms], none.weights[terms])
    assert half.sizes == none.sizes


def about(collection: TrainCollection) -> list[str]:
    """The documents that training queries are about."""
    return [collection.documents[document] for document in dict.fromkeys(d for _, relevant in collection.queries for d in relevant)]


def test_the_folder_of_another_run_is_left_alone(recipe: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "training.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds a run already"):
        train_words(load_recipe(recipe), data, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("validation.splits = ['toy:test']", "test splits"),
        ("expansion = {kind = 'blind'}\ndata.share = {toy = 2.0}", "data.share has no effect"),
        ("data.share = {toys = 2.0}", "did you mean 'toy'"),
        ("expansion.hiden = 3", "did you mean 'hidden'"),
        ("model.k1 = 0.0", "model.k1"),
        ("model.inflections = false", "model.forms needs model.inflections"),
    ],
)
def test_a_bad_recipe_is_refused(recipe: Path, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(recipe, [change])


def test_a_thesaurus_and_an_expansion_go_together(recipe: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.toml"
    path.write_text(f'extends = "{recipe}"\ndrop = ["expansion"]', encoding="utf-8")
    with pytest.raises(ConfigError, match="go together"):
        load_recipe(path)
    path.write_text(f'extends = "{recipe}"\ndrop = ["expansion", "model.thesaurus"]\n[model]\nmin_weight_added = 0.5', encoding="utf-8")
    with pytest.raises(ConfigError, match="min_weight_added has no effect"):
        load_recipe(path)
