"""What the READMEs and the pages about filters, frameworks, hybrid search, long documents and servers show runs as it stands."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from splade_ptbr_connectors.stores.edge.settings import EdgeSettings
from splade_ptbr_connectors.stores.numba import NumbaSettings
from splade_ptbr_connectors.stores.opensearch.settings import OpenSearchSettings
from splade_ptbr_connectors.stores.qdrant.settings import QdrantSettings
from splade_ptbr_connectors.stores.settings import StoreSettings
from tests.support.pages import blocks, commands, run
from tests.support.qdrant_server import stand_in

ROOT = Path(__file__).parents[1]
QDRANT = "http://localhost:6333/"  # as the pages write it
READMES = ["README.md", "README.pt-BR.md"]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """By the Python of README.md, which is that of the other one."""
    code = [block for block in blocks("README.md") if "import" in block]
    assert len(code) == 3
    checks = 'assert [h.doc_id for h in store.search(query)] == ["1"]\nassert len(documents) == len(scored) == len(nodes) == 1\n'
    return run([*code, checks], tmp_path_factory.mktemp("readme"))


@pytest.mark.parametrize("name", READMES)
def test_the_python_of_the_readme_runs(name: str, printed: str) -> None:
    shown = re.findall(r"print\(why\)  # (.*?) \.\.\.", blocks(name)[0])
    assert "30 dias" in printed and len(shown) == 1 and shown[0] in re.sub(r"\s+", " ", printed)


def test_both_readmes_show_the_same_code() -> None:
    english, portuguese = (
        [ast.dump(ast.parse(re.sub("my-documents|meus-documentos", "", block))) for block in blocks(name)] for name in READMES
    )
    assert portuguese == english


def test_the_python_of_the_page_about_filters_runs(tmp_path: Path) -> None:
    run(blocks("docs/filters.md"), tmp_path)


def test_the_python_of_the_page_about_long_documents_runs(tmp_path: Path) -> None:
    output = run([*blocks("docs/long-documents.md"), "print([hit.doc_id for hit in hits])"], tmp_path)
    assert output.startswith("lei ") and output.endswith("['lei']\n") and "do **recurso** da **infração** **41** é" in output


def test_the_python_of_the_page_about_langchain_runs(tmp_path: Path) -> None:
    code, shared = blocks("docs/langchain.md")
    output = run([code], tmp_path)
    assert "'num_added': 1" in output and "ctb.pdf O prazo" in output and output.endswith("Multas\n\nO prazo para recorrer é de 30 dias.\n")
    with stand_in() as server:
        assert "30 dias" in run([shared.replace(QDRANT, f"{server.url}/")], tmp_path)


def test_the_python_of_the_page_about_llama_index_runs(tmp_path: Path) -> None:
    with stand_in() as server:
        output = run([block.replace(QDRANT, f"{server.url}/") for block in blocks("docs/llama-index.md")], tmp_path)
    found, by_index, theirs = output.splitlines()
    assert found.endswith(" ctb {'ano': 1997} O prazo para recorrer é de 30 dias.")
    assert by_index == "['O órgão responde ao pedido de informação em 20 dias.']" and theirs == "['O prazo para recorrer é de 30 dias.']"


def test_the_python_of_the_page_about_hybrid_search_runs(tmp_path: Path) -> None:
    first, *_, langchain, llama_index, added = run(blocks("docs/hybrid.md"), tmp_path).splitlines()
    assert first.startswith("bateria Se o motor") and langchain == llama_index == "['bateria']" and added == "['revisão']"


def test_the_python_of_the_page_about_servers_runs_on_a_server(tmp_path: Path) -> None:
    code = blocks("docs/servers.md")
    assert len(code) == 2 and all(QDRANT in block for block in code)
    with stand_in() as server:
        output = run([block.replace(QDRANT, f"{server.url}/") for block in code], tmp_path)
        assert server.client.count("leis").count == 1  # the tenant has deleted its own, the other one is there
    assert "30 dias" in output


@pytest.mark.parametrize("language", ["md", "pt.md"])
@pytest.mark.parametrize("settings", [EdgeSettings, NumbaSettings, OpenSearchSettings, QdrantSettings])
def test_the_page_of_an_engine_names_every_setting(settings: type[StoreSettings], language: str) -> None:
    engine = settings.__name__.removesuffix("Settings").lower()
    page = (ROOT / "docs" / "engines" / f"{engine}.{language}").read_text(encoding="utf-8")
    rows = {name: row for row in re.findall(r"^\| `.*$", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    for name in settings.model_fields:
        assert name in rows, name


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "README.pt-BR.md",
        "CONTRIBUTING.md",
        "docs/hybrid.md",
        "docs/langchain.md",
        "docs/llama-index.md",
        "docs/play.md",
        "docs/servers.md",
        "docs/one-hundred-million.md",
        "docs/interchange.md",
        "benchmarks/README.md",
    ],
)
def test_links_to_files_lead_somewhere(name: str) -> None:
    page = ROOT / name
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("name", READMES)
def test_the_commands_of_the_readme_exist_with_their_options(name: str) -> None:
    assert len(commands(name)) > 4
