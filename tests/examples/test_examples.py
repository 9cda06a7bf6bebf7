"""Every file of examples/ runs as it stands, in an empty folder, and prints what it is about."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
Printed = Callable[[str], list[str]]


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Printed:
    """Runs an example as a program; its lines."""

    def run(name: str) -> list[str]:
        monkeypatch.chdir(tmp_path)
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def test_rag_with_langchain(printed: Printed) -> None:
    lines = printed("rag_langchain.py")
    assert lines[2] == "[multas] Multas de trânsito" and lines[4].startswith("O prazo para recorrer")
    assert lines[-1] == "Pergunta: até quando posso contestar uma multa?"


def test_query_engine_of_llama_index(printed: Printed) -> None:
    lines = printed("query_engine_llama_index.py")
    assert "lai: O órgão público" in lines[0] and not any("infração" in line for line in lines)
    assert "Query: em quantos dias a prefeitura tem de responder?" in lines


def test_bulk_ingestion(printed: Printed) -> None:
    lines = printed("bulk_ingestion.py")
    counted, resumed_at = next(line for line in lines if "resumed" in line).split(" documents; the last run resumed at record ")
    assert counted == "498" and 100 <= int(resumed_at) <= 500
    assert [line.split(":")[0] for line in lines if line.startswith("line ")] == ["line 8", "line 24"]
    assert "  500 read,   0 written, 498 unchanged,   2 rejected" in printed("bulk_ingestion.py")


def test_hybrid(printed: Printed) -> None:
    lines = printed("hybrid.py")
    assert [line.split(": ")[1].split(",")[0] for line in lines if "hybrid" in line] == ["bateria", "rescisao", "portaria-671"]


def test_web_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    monkeypatch.setenv("STORE_URL", f"numba:{tmp_path / 'store'}")
    app = runpy.run_path(str(EXAMPLES / "web_server.py"), run_name="__main__")["app"]
    with TestClient(app) as client:
        assert [hit["id"] for hit in client.get("/search", params={"q": "contestar multa", "k": 1}).json()] == ["multas"]
        found = client.get("/search", params={"q": "minutos de multa", "assunto": "culinária"}).json()
        assert [(hit["id"], hit["text"]) for hit in found] == [("bolo", "Misture o fubá, o leite e os ovos e asse por 40 minutos.")]
        assert client.get("/search", params={"q": ""}).status_code == 422


def test_first_steps(tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / "primeiros_passos.ipynb", nbformat.NO_CONVERT)
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = json.dumps([cell.get("outputs") for cell in notebook.cells], ensure_ascii=False)
    assert "insonia" in printed and "sono: Evite café" in printed and "insônia +" in printed and "['multas'" in printed


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb") and path.name not in text] == []
