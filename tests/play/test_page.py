"""The page in a real Chromium: searched by mouse and by keyboard, in both languages, one store and two, and no document commands it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlparse

import pytest

pytest.importorskip("playwright")

from splade_ptbr_connectors import ingest, open_store
from splade_ptbr_connectors.demo.sample import read_corpus
from tests.support.chromium import chromium
from tests.support.playing import Playing, playing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

QUERY = "até quando posso recorrer de uma multa?"
HOSTILE = {
    "_id": "<i>mau</i>\u202e",
    "title": "</h3><script>document.body.remove()</script>",
    "text": 'zabumba <img src="x" onerror="document.body.remove()"> <a href="javascript:alert(1)">ganhe</a> \u202eodal ortuo\u202c fim',
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two stores of the sample, by two models; the first one has a hostile document too."""
    folder = tmp_path_factory.mktemp("stores")
    urls = {f"edge:{folder / 'primeira'}": "mini", f"edge:{folder / 'segunda'}": "mini-lexico"}
    for url, model in urls.items():
        with open_store(url, encoder=model) as store:
            ingest([*read_corpus(), *([HOSTILE] if model == "mini" else [])], store)
    return list(urls)


@pytest.fixture(scope="module")
def one(stores: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playing]:
    """The page over a copy of the first store: an edge store is open in one process at a time."""
    copy = tmp_path_factory.mktemp("one") / "primeira"
    shutil.copytree(stores[0].removeprefix("edge:"), copy)
    with playing(f"edge:{copy}") as running:
        yield running


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def opened(browser: Browser, url: str, **context: object) -> Page:
    """A page of its own, on which any error that the console shows fails the test at its end (see `close`)."""
    page = browser.new_context(**{"locale": "pt-BR", "reduced_motion": "reduce", **context}).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(60_000)
    page.problems = []  # type: ignore[attr-defined]
    page.on("console", lambda message: page.problems.append(message.text) if message.type in ("error", "warning") else None)  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.problems.append(str(error)))  # type: ignore[attr-defined]
    page.on("request", lambda request: page.problems.append(request.url) if not request.url.startswith(url) else None)  # type: ignore[attr-defined]
    page.goto(url)
    page.wait_for_selector("#form button:not(:empty)")
    return page


def close(page: Page) -> None:
    """No error was shown, and nothing was asked of any other address."""
    problems = page.problems  # type: ignore[attr-defined]
    page.context.close()
    assert problems == []


def search(page: Page, query: str) -> None:
    page.fill("#query", query)
    page.click("#form button")
    wait_for_answer(page, query)


def wait_for_answer(page: Page, query: str) -> None:
    page.wait_for_function("query => document.title.startsWith(query)", arg=query)


def test_a_search_shows_hits_their_words_and_what_the_query_becomes(browser: Browser, one: Playing) -> None:
    page = opened(browser, one.url)
    search(page, QUERY)
    first = page.locator(".hit").first
    assert page.locator(".hit").count() == 10
    assert first.locator("h3").inner_text() == "Como recorrer de multa"
    assert first.locator("h3 mark").all_inner_texts() == ["recorrer", "multa"]
    assert {"recurso", "defesa"} <= set(first.locator(".text mark").all_inner_texts())
    assert page.locator("#reading dt").all_inner_texts() == ["Da consulta", "Do tesauro", "Conceitos"]
    assert page.locator("#reading dd").first.locator("bdi").all_inner_texts() == ["posso", "recorrer", "multa"]
    bars = first.locator(".why > ul .bar").evaluate_all("bars => bars.map(bar => Number(bar.style.getPropertyValue('--share')))")
    values = first.locator(".why > ul data").evaluate_all("each => each.map(data => Number(data.value))")
    assert bars == pytest.approx([value / values[0] for value in values]) and len(bars) == 5
    assert page.locator("#status").inner_text() == "10 resultados."
    close(page)


def test_the_address_holds_the_search(browser: Browser, one: Playing) -> None:
    page = opened(browser, one.url)
    page.select_option("#count", "5")
    search(page, "febre")
    assert parse_qs(urlparse(page.url).query) == {"q": ["febre"], "k": ["5"]}
    search(page, "vacina & <b>")
    page.go_back()
    wait_for_answer(page, "febre")
    assert page.input_value("#query") == "febre" and page.locator(".hit").count() == 5
    copied = opened(browser, page.url)
    copied.wait_for_selector(".hit")
    assert copied.input_value("#query") == "febre" and copied.input_value("#count") == "5"
    copied.context.close()
    close(page)


def test_a_filter_narrows_the_hits_is_in_the_address_and_its_error_stands_below_it(browser: Browser, one: Playing) -> None:
    page, filter = opened(browser, one.url), '{"metadata.subject": "saúde"}'
    page.fill("#filter", f" {filter} ")
    search(page, "febre e vacina")
    assert 0 < page.locator(".hit").count() and parse_qs(urlparse(page.url).query)["filter"] == [filter]
    copied = opened(browser, page.url)
    copied.wait_for_selector(".hit")
    assert copied.input_value("#filter") == filter and copied.locator(".hit").count() == page.locator(".hit").count()
    copied.context.close()
    page.fill("#filter", '{"metadata.subject": "nenhum"}')
    page.press("#filter", "Enter")
    page.wait_for_selector("text=Nenhum documento que passa pelo filtro")
    with page.expect_response("**/api/search*"):
        page.fill("#filter", '{"metadata.subject"')
        page.press("#filter", "Enter")
    page.wait_for_selector("#problem .error")
    assert page.locator("#problem .error").inner_text().startswith("ConfigError\nthe filter '{\"metadata.subject\"' is not JSON")
    assert page.locator(".error").count() == 1 and page.locator(".hit").count() == 0
    assert page.get_attribute("#filter", "aria-invalid") == "true" and "abaixo" in page.locator("#status").inner_text()
    page.problems = []  # type: ignore[attr-defined]  # the console shows every answer of 400
    page.fill("#filter", "")
    page.press("#filter", "Enter")
    page.wait_for_selector(".hit")
    assert page.locator(".error").count() == 0 and "filter" not in page.url
    close(page)


def test_a_name_that_no_document_has_is_told_beside_the_hits_and_to_screen_readers(browser: Browser, one: Playing) -> None:
    page = opened(browser, one.url, locale="pt-BR")
    page.fill("#filter", '{"metadata.asunto": {"not": "saúde"}}')
    search(page, QUERY)
    told = "Nenhum documento tem o campo “metadata.asunto” do filtro."
    assert page.locator(".hint").inner_text().startswith(told) and told in page.locator("#status").inner_text()
    assert page.locator(".hit").count() == 10
    page.click("#language")
    assert page.locator(".hint").inner_text().startswith("No document has the field “metadata.asunto” of the filter.")
    page.fill("#filter", '{"metadata.subject": {"not": "saúde"}}')
    page.press("#filter", "Enter")
    page.wait_for_selector(".hint", state="detached")
    close(page)


def test_the_keyboard_alone_is_enough(browser: Browser, one: Playing) -> None:
    page = opened(browser, one.url)
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type(QUERY)
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit")
    order = []
    page.evaluate("document.activeElement.blur()")
    for _ in range(8):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.className || document.activeElement.tagName"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.evaluate("window.scrollTo(0, 0)")
    assert [each for each in order if each in ("skip", "language", "query", "count", "BUTTON", "filter", "SUMMARY")] == order
    assert [each for each in order if each != "SUMMARY"] == sorted(
        (each for each in order if each != "SUMMARY"), key=["skip", "language", "query", "count", "BUTTON", "filter"].index
    )
    details = page.locator("details", has=page.locator("summary:focus"))
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    assert details.get_attribute("open") is not None
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "results" and page.locator(".hit").count() == 10
    close(page)


def test_the_language_is_the_browsers_until_it_is_switched(browser: Browser, one: Playing) -> None:
    for locale, lang, button, other in (("pt-PT", "pt-BR", "Buscar", "English"), ("en-GB", "en", "Search", "Português")):
        page = opened(browser, one.url, locale=locale)
        search(page, QUERY)
        titles = page.locator(".hit h3").all_inner_texts()
        assert page.evaluate("document.documentElement.lang") == lang
        assert page.inner_text("#form button") == button and page.inner_text("#language") == other
        said = page.inner_text("body")
        page.focus("#language")
        page.keyboard.press("Enter")
        assert page.evaluate("document.documentElement.lang") != lang and page.inner_text("#form button") != button
        assert page.locator(".hit h3").all_inner_texts() == titles and page.inner_text("body") != said
        assert page.evaluate("document.activeElement.id") == "language"
        page.reload()
        page.wait_for_selector(".hit")
        assert page.inner_text("#form button") != button
        close(page)


def test_two_stores_are_side_by_side(browser: Browser, stores: list[str]) -> None:
    with playing(*stores) as running:
        page = opened(browser, running.url, viewport={"width": 1180, "height": 900})
        search(page, QUERY)
        assert page.locator(".store h2").all_inner_texts() == stores
        left, right = (each.bounding_box() for each in page.locator(".store").all())
        assert left is not None and right is not None and left["y"] == right["y"] and left["x"] + left["width"] < right["x"]
        assert page.locator("#reading h2").all_inner_texts() == [
            "Como o modelo mini lê a consulta",
            "Como o modelo mini-lexico lê a consulta",
        ]
        ids = [[hit.locator(".facts bdi").inner_text() for hit in store.locator(".hit").all()] for store in page.locator(".store").all()]
        said = page.locator(".store").first.locator(".facts span:last-child").all_inner_texts()
        assert said == [f"{ids[1].index(each) + 1}º na outra coleção" if each in ids[1] else "só nesta coleção" for each in ids[0]]
        page.set_viewport_size({"width": 360, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        close(page)


def test_a_hostile_document_is_only_text(browser: Browser, one: Playing) -> None:
    page = opened(browser, one.url)
    search(page, "zabumba")
    first = page.locator(".hit", has_text="<i>mau</i>")
    assert first.locator("h3").inner_text() == HOSTILE["title"]
    assert first.locator(".text").inner_text() == HOSTILE["text"].replace("\u202e", " ").replace("\u202c", " ").replace("  ", " ")
    assert first.locator(".facts bdi").inner_text().strip() == "<i>mau</i>"
    assert page.locator("main script, main img, main a, main i").count() == 0
    search(page, "<img src=x onerror=document.body.remove()>\u202e zabumba")
    assert page.locator("main img").count() == 0 and page.locator(".hit").count() > 0
    close(page)


def test_errors_and_empty_answers_are_told(browser: Browser, one: Playing) -> None:
    page = opened(browser, one.url)
    search(page, "😀")
    assert page.inner_text(".store > p:last-child") == "Nenhum documento tem um termo em comum com esta consulta."
    page.route("**/api/search*", lambda route: route.fulfill(status=503, json={"error": {"type": "StoreError", "message": "<b>caiu</b>"}}))
    search(page, "febre")
    assert page.inner_text(".error").split("\n") == ["StoreError", "<b>caiu</b>"]
    assert page.inner_text("#status") == "A busca falhou. Veja a mensagem nos resultados."
    page.unroute("**/api/search*")
    page.route("**/api/search*", lambda route: route.abort())
    search(page, "gripe")
    assert "O servidor não responde" in page.inner_text(".error")
    page.unroute("**/api/search*")
    search(page, "febre alta")
    assert page.locator(".error").count() == 0 and page.locator(".hit").count() == 10
    page.problems = [each for each in page.problems if "Failed to load resource" not in each]  # type: ignore[attr-defined] # the two above
    close(page)


def test_a_slow_answer_does_not_replace_a_newer_one(browser: Browser, one: Playing) -> None:
    page = opened(browser, one.url)
    waiting: list[Route] = []
    page.route("**/api/search*q=gripe*", lambda route: waiting.append(route))
    page.fill("#query", "gripe")
    with page.expect_request("**/api/search*q=gripe*"):
        page.keyboard.press("Enter")
    search(page, "febre")
    for route in waiting:
        route.abort()
    assert page.title().startswith("febre") and page.locator(".hit").count() == 10 and page.locator(".error").count() == 0
    close(page)


def test_axe_finds_no_barrier(browser: Browser, stores: list[str], scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with playing(*stores) as running:
        page = browser.new_context(locale="pt-BR", color_scheme=scheme, bypass_csp=True).new_page()  # type: ignore[arg-type] # axe is a script of ours
        page.goto(running.url)
        page.wait_for_selector("#form button:not(:empty)")
        _assert_accessible(axe.run(page))
        search_in_place(page)
        for details in page.locator("details").all():
            details.evaluate("each => each.open = true")
        _assert_accessible(axe.run(page))
        page.context.close()


def search_in_place(page: Page) -> None:
    page.fill("#query", QUERY)
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit")


def _assert_accessible(results: object) -> None:
    found = results.response  # type: ignore[attr-defined]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
    assert {"color-contrast", "label", "button-name", "html-has-lang"} <= {each["id"] for each in found["passes"]}


def test_labels_and_roles_are_those_that_screen_readers_say(browser: Browser, one: Playing, tmp_path: Path) -> None:
    page = opened(browser, one.url)
    search(page, QUERY)
    assert page.get_by_role("search").get_by_label("Pergunta ou palavras").input_value() == QUERY
    assert page.get_by_role("button", name="Buscar").count() == 1
    assert page.get_by_role("combobox", name="Resultados").count() == 1
    assert page.get_by_role("status").inner_text()
    assert page.get_by_role("region", name="Como o modelo lê a consulta").count() == 1
    assert page.get_by_role("region", name="Coleção edge:").get_by_role("article").count() == 10
    assert page.get_by_role("heading", level=3).count() == 10
    assert page.get_by_role("list", name="Por que apareceu").count() == 10
    close(page)
