"""Draws the pictures of docs/play.md anew: python -m tests.play.screenshots docs/images

Needs a Chromium, and the font Inter to look the same as before (Debian: chromium, fonts-inter).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from splade_ptbr_connectors import ingest, open_store
from splade_ptbr_connectors.demo.sample import read_corpus
from tests.support.chromium import chromium
from tests.support.playing import playing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

QUERY = "até quando posso recorrer de uma multa?"
STORES = {"edge:amostra": "mini", "edge:amostra-lexico": "mini-lexico"}
WIDTH = 1120


def draw(target: Path) -> None:
    """Write play.png, of one store, and play-two-stores.png."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for url, model in STORES.items():
            with open_store(f"edge:{folder}/{url.removeprefix('edge:')}", encoder=model) as store:
                ingest(read_corpus(), store)
        target.mkdir(parents=True, exist_ok=True)
        for name, stores, height in (("play.png", list(STORES)[:1], 800), ("play-two-stores.png", list(STORES), 980)):
            with playing(*stores, folder=Path(folder)) as running:
                _draw(browser, running.url, target / name, height)


def _draw(browser: Browser, url: str, path: Path, height: int) -> None:
    page = browser.new_context(locale="pt-BR", color_scheme="light", viewport={"width": WIDTH, "height": height}).new_page()
    page.goto(url)
    page.fill("#query", QUERY)
    page.click("#form button")
    page.wait_for_function("query => document.title.startsWith(query)", arg=QUERY)
    page.mouse.move(0, 0)
    page.screenshot(path=path)
    page.context.close()


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
