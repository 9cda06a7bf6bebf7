"""The pages of docs/: the site is built strictly and loads nothing from elsewhere, and what the pages show works as it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.pages import ROOT, blocks, commands, run, text_of
from tests.support.qdrant_server import stand_in

QDRANT = "http://localhost:6333/"  # as the pages write it
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
IN_PORTUGUESE = [name for name in PAGES if name.endswith(".pt.md")]
RUN_ELSEWHERE = {  # whose results are compared: tests/test_readme.py, tests/unit/embedders, tests/servers/test_pages.py
    *(
        "docs/encoders.md",
        "docs/filters.md",
        "docs/hybrid.md",
        "docs/langchain.md",
        "docs/llama-index.md",
        "docs/long-documents.md",
        "docs/servers.md",
    ),
    "docs/engines/opensearch.md",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make site` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loaded(HTMLParser):
    """What a browser fetches for a page without being asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video"):
            self.urls.append(found.get("src") or "")
        if tag == "link" and found.get("rel") not in ("canonical", "alternate"):
            self.urls.append(found.get("href") or "")


def loaded(site: Path) -> Iterator[str]:
    for page in site.rglob("*.html"):
        parser = Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        yield from parser.urls
    for sheet in site.rglob("*.css"):
        yield from re.findall(r"(?:url\(|@import )['\"]?([^'\")]+)", sheet.read_text(encoding="utf-8"))


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    urls = set(loaded(site))
    assert any(url.endswith(".js") for url in urls) and any(url.endswith(".css") for url in urls)
    assert [url for url in urls if re.match(r"(\w+:)?//", url)] == []


def test_links_to_a_section_find_it_in_both_languages(site: Path) -> None:
    """Those of English pages too that stand among the Portuguese ones, where mkdocs does not look."""
    pages = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    sections = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in pages.items()}
    lost = []
    for page, text in pages.items():
        for path, section in re.findall(r'href="(?!\w+:|//)([^"#]*)#([^"]+)"', text):
            target = (page.parent / unquote(path)).resolve() if path else page
            if unquote(section) not in sections[target / "index.html" if target.is_dir() else target]:
                lost.append(f"{page.relative_to(site)}: {path}#{section}")
    assert lost == []


def test_the_site_speaks_and_searches_both_languages(site: Path) -> None:
    assert '<html lang="en"' in (site / "index.html").read_text(encoding="utf-8")
    assert '<html lang="pt"' in (site / "pt" / "index.html").read_text(encoding="utf-8")
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"] for entry in index["docs"]}
    assert index["config"]["lang"] == ["en", "pt"] and {"start/", "pt/start/"} <= found


@pytest.mark.parametrize("name", [name for name in PAGES if blocks(name) and name not in {*IN_PORTUGUESE, *RUN_ELSEWHERE}])
def test_the_python_of_the_page_runs(name: str, tmp_path: Path) -> None:
    with stand_in() as server:
        output = run([block.replace(QDRANT, f"{server.url}/") for block in blocks(name)], tmp_path)
    assert output


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_the_page_exist_with_their_options(name: str) -> None:
    commands(name)


@pytest.mark.parametrize("name", [*PAGES, "README.md", "README.pt-BR.md", "training/README.md", "benchmarks/README.md"])
def test_what_is_installed_is_the_clone_with_extras_that_exist(name: str) -> None:
    extras = tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]
    for target in re.findall(r"pip install (?:--editable )?(\S+)", text_of(name)):
        if named := re.fullmatch(r'"\.\[([\w,-]+)\]"\W*', target):
            assert set(named[1].split(",")) <= set(extras), target
        else:
            assert re.fullmatch(r"\.\W*", target), target


@pytest.mark.parametrize("name", [*IN_PORTUGUESE, "README.pt-BR.md"])
def test_the_portuguese_page_has_what_the_english_one_has(name: str) -> None:
    """The same headings, rows, links and code, but for comments and the name of a folder."""

    def outline(page: str) -> dict[str, object]:
        prose = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
        return {
            "code": [re.sub(r"#.*|my-documents|meus-documentos|\s", "", block) for block in blocks(page)],
            "headings": re.findall(r"^#+ ", prose, re.MULTILINE),
            "rows": len(re.findall(r"^\|", prose, re.MULTILINE)),
            "links": sorted({re.sub(r"#.*|\.pt(?=\.md)|\.pt-BR", "", link) for link in re.findall(r"\]\(([^)]+)\)", prose)}),
        }

    assert outline(name) == outline(re.sub(r"\.pt(-BR)?\.md", ".md", name))
