"""Concepts from a recipe to a folder that the package loads, cut off on the way and gone on with."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.cores import cores
from splade_ptbr_connectors.encoding import onnx_graph
from splade_ptbr_connectors.errors import ConfigError
from tests.support.exporting import as_onnx
from tests.training.words.concepts.teacher import make_teacher
from training.recipe.file import load_recipe
from training.words import run
from training.words.concepts import learn, stage, student
from training.words.run import train_words

pytestmark = pytest.mark.usefixtures("exported_once")  # of a run that was cut off, only if its network is another one
RECIPE = """
kind = "words"
name = "tiny"
seed = 1
[data]
collections = ["toy"]
texts = "text"
[model]
pieces = "vocab/vocab.txt"
thesaurus = "thesaurus.tsv"
vector_size = 4
average_length = 10.0
[expansion]
kind = "gate"
hidden = 6
projected = 2
epochs = 2
batch_queries = 8
[concepts]
teacher = "teacher"
pairs = "weak.jsonl"
layers = [0, 3]
pieces = 150
max_length_document = 48
steps = 24
checkpoint_every = 10
batch_tokens = 512
size = 12
top_query = 4
top_document = 6
directions_steps = 20
tuning_rounds = 2
"""


@pytest.fixture(scope="module")
def data(data_dir: Path) -> Path:
    make_teacher(data_dir / "teacher")
    (data_dir / "thesaurus.tsv").write_text("bicho do mar\tpeixe\toceano, água\nmestre\tprofessor\taula, escola\n", encoding="utf-8")
    lines = [{"query": f"o mestre {n}", "positive": f"a casa do professor fica na rua {n} da cidade."} for n in range(30)]
    (data_dir / "weak.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return data_dir


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def made(recipe: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter has several to say
        return train_words(load_recipe(recipe), data, tmp_path_factory.mktemp("run"))


def test_texts_have_words_and_concepts(made: Path) -> None:
    encoder = SpladeEncoder.load(made)
    first = encoder.vocab_size - 12
    for vector, most in ((encoder.encode_query("o mestre"), 4), (encoder.encode_document("a casa do professor"), 6)):
        concepts = vector.term_ids >= first
        assert 0 < concepts.sum() <= most and (~concepts).sum() > 0
        assert all(encoder.token(int(term)).startswith("≈") for term in vector.term_ids[concepts])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("cut_off", [student.CHECKPOINT, "tuned-2.pt"])
def test_a_run_that_was_cut_off_goes_on_to_the_same_model(
    cut_off: str, made: Path, recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = stage.save, list[int]()

    def interrupted(path: Path, *arguments: object) -> None:
        save(path, *arguments)  # type: ignore[arg-type]
        if path.name == cut_off:
            calls.append(1)
            raise KeyboardInterrupt

    monkeypatch.setattr(stage, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_words(load_recipe(recipe), data, tmp_path)
    with pytest.raises(ConfigError, match="--resume"):
        train_words(load_recipe(recipe), data, tmp_path)
    monkeypatch.undo()
    if cut_off == student.CHECKPOINT:
        monkeypatch.setattr(onnx_graph, "_as_onnx", as_onnx)  # an export of its own: the same bytes
    resumed = SpladeEncoder.load(train_words(load_recipe(recipe), data, tmp_path, resume=True))
    assert calls and resumed.fingerprint == SpladeEncoder.load(made).fingerprint


def test_a_run_that_was_cut_off_while_it_wrote_its_recipe_down_goes_on(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def cut(path: Path, text: str, **options: str) -> None:
        write(path, text[: len(text) // 2], **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", cut)
    with pytest.raises(KeyboardInterrupt):
        learn._same_recipe(load_recipe(recipe), tmp_path)
    monkeypatch.undo()
    learn._same_recipe(load_recipe(recipe), tmp_path)


@pytest.mark.parametrize(("given", "threads"), [("3", 3), ("", cores()), ("many", cores())])
def test_concepts_are_learned_on_the_threads_given_and_leave_them_as_they_were(
    given: str, threads: int, recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list[int]()

    def fails(*_: object) -> None:
        found.append(torch.get_num_threads())
        raise KeyboardInterrupt

    monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(run, "learn_concepts", fails)
    with pytest.raises(KeyboardInterrupt):
        train_words(load_recipe(recipe), data, tmp_path)
    assert found == [threads] and torch.get_num_threads() == load_recipe(recipe).threads


@pytest.mark.parametrize("change", ["concepts.size = 13", "data.paragraphs = 9", "model.min_count = 2", "expansion.epochs = 3", "seed = 2"])
def test_a_run_of_another_recipe_is_not_gone_on_with(change: str, made: Path, recipe: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="recipe with another seed"):
        train_words(load_recipe(recipe, [change]), data, made.parent, resume=True)
