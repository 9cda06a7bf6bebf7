"""Data and models small enough for tests: a made-up vocabulary, collections and recipe."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOPICS = {
    "imposto": ["imposto", "impostos", "renda", "declaração", "contribuinte"],
    "oceano": ["oceano", "mar", "peixe", "corrente", "água"],
    "escola": ["escola", "aluno", "alunos", "professor", "aula"],
    "saúde": ["saúde", "médico", "hospital", "remédio", "vacina"],
}
FILLER = ["o", "de", "que", "qual", "em", "tem", "novo", "grande", "ano", "casa", "pessoa", "tempo"]


def words_of(topic: str, seed: int, count: int) -> list[str]:
    words = TOPICS[topic]
    return [words[(seed * 7 + i * 3) % len(words)] if i % 2 else FILLER[(seed + i * 5) % len(FILLER)] for i in range(count)]


def write_collection(folder: Path) -> None:
    documents, queries, judged = [], [], []
    for number in range(48):
        topic = list(TOPICS)[number % len(TOPICS)]
        mark = f"caso{number}"
        documents.append({"_id": f"d{number}", "title": "", "text": " ".join([*words_of(topic, number, 20), mark]) + "."})
        queries.append({"_id": f"q{number}", "text": f"qual {mark} {TOPICS[topic][number % 5]}?"})
        judged.append((f"q{number}", f"d{number}", 1))
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents), encoding="utf-8")
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries), encoding="utf-8")
    for split, rows in (("train", judged[:40]), ("test", judged[40:])):
        lines = "".join(f"{query}\t{document}\t{score}\n" for query, document, score in rows)
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines, encoding="utf-8")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    words = sorted({word for topic in TOPICS.values() for word in topic} | set(FILLER))
    pieces = ["caso", "?", ".", *[f"##{digit}" for digit in range(10)]]
    (folder / "vocab").mkdir()
    (folder / "vocab" / "vocab.txt").write_text("\n".join([*SPECIAL, *words, *pieces]) + "\n", encoding="utf-8")
    write_collection(folder / "toy")
    (folder / "text").mkdir()
    paragraphs = [" ".join(words_of(topic, seed, 30)) + "." for seed in range(40) for topic in TOPICS]
    with gzip.open(folder / "text" / "toy.txt.gz", "wt", encoding="utf-8") as handle:
        handle.write("\n".join(paragraphs) + "\n")
    return folder


@pytest.fixture(scope="session")
def smoke_recipe() -> Path:
    return Path(__file__).resolve().parents[2] / "training" / "recipes" / "smoke.toml"
