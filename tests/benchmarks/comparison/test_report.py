"""A report shows every engine and every failure, whatever is missing from the results and whatever the names contain."""

from __future__ import annotations

import html
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from benchmarks.comparison.report import markdown as table
from benchmarks.comparison.report import page, tables, write_report
from benchmarks.comparison.report import text as texts
from benchmarks.comparison.results import (
    MEASURES,
    THREADS,
    TOP_KS,
    Agreement,
    Build,
    EngineResult,
    Failure,
    PrunedResult,
    Results,
    WorkloadFacts,
)
from benchmarks.harness.latency import Latency
from splade_ptbr_connectors.errors import InputFileError, MissingExtraError
from splade_ptbr_connectors.plots.picture import ShownPicture

NASTY = st.sampled_from([*"a|b <b> &amp; `x` *x* __init__ a_b \\ [a](b) $x$ {title}{body} <!-- ação ~~z~~".split(), "x\ny", "a  b"])
NAMES = st.lists(NASTY | st.text(max_size=12), min_size=1, max_size=3).map("".join)
SMALL = st.just(0.0) | st.floats(1e-6, 1e9)  # from a nanosecond in milliseconds: what a clock can tell
SHARES = st.floats(0, 1)
VALUES = st.none() | st.booleans() | st.integers() | SHARES | NAMES
JSON = st.recursive(VALUES, lambda inner: st.dictionaries(NAMES, inner, max_size=2), max_leaves=4)
LATENCIES = st.dictionaries(st.sampled_from(TOP_KS), st.builds(Latency, mean=SMALL, p50=SMALL, p95=SMALL, p99=SMALL))
QUALITIES = st.dictionaries(st.sampled_from(MEASURES), SHARES)
AGREEMENTS = st.dictionaries(st.sampled_from(TOP_KS), st.builds(Agreement, agreement=SHARES, engine_error=SHARES, quantisation_loss=SHARES))
SIZES = st.integers(0, 10**12)
ENGINES = st.builds(
    EngineResult,
    name=NAMES,
    facts=st.dictionaries(NAMES, JSON, max_size=3),
    failure=st.none() | st.builds(Failure, step=NAMES, message=NAMES),
    build=st.none() | st.builds(Build, seconds=SMALL, documents_per_second=SMALL, bytes_on_disk=st.none() | SIZES, peak_memory=SIZES),
    rounds=st.integers(0, 9),
    query_ms=st.none() | st.builds(Latency, mean=SMALL, p50=SMALL, p95=SMALL, p99=SMALL),
    memory=st.none() | SIZES,
    latency_ms=LATENCIES,
    queries_per_second=st.dictionaries(st.sampled_from(TOP_KS), st.dictionaries(st.sampled_from(THREADS), SMALL)),
    quality=QUALITIES,
    agreement=AGREEMENTS,
)
PRUNED = st.builds(
    PrunedResult,
    pruning=st.just("none") | st.sampled_from(["top_k=8", "top_k=64", "mass=0.9"]) | NAMES,
    terms_per_document=st.floats(0, 1000),
    bytes_on_disk=SIZES,
    latency_ms=LATENCIES,
    quality=QUALITIES,
    agreement=st.dictionaries(st.sampled_from(TOP_KS), SHARES),
)
WORKLOADS = st.builds(
    WorkloadFacts,
    name=NAMES,
    model=NAMES,
    documents=st.integers(0, 10**7),
    queries=st.integers(0, 10**6),
    judged_queries=st.integers(0, 3),
    terms_per_document=SMALL,
    terms_per_query=SMALL,
    notes=st.lists(NAMES, max_size=2),
)
RESULTS = st.builds(
    Results,
    workload=WORKLOADS,
    machine=st.dictionaries(NAMES, JSON, max_size=2),
    engines=st.lists(ENGINES, max_size=5),
    pruning=st.lists(PRUNED, max_size=5),
)


def workload(**changes: Any) -> WorkloadFacts:
    facts: dict[str, Any] = {
        "name": "quati",
        "model": "m",
        "documents": 1000,
        "queries": 50,
        "judged_queries": 50,
        "terms_per_document": 120.0,
    }
    return WorkloadFacts(**(facts | {"terms_per_query": 20.0} | changes))


def results(*engines: EngineResult, **changes: Any) -> Results:
    return Results(workload=workload(**changes), machine={"processor": "made up", "cores": 2}, engines=list(engines))


def latency(p50: float) -> Latency:
    return Latency(mean=p50, p50=p50, p95=2 * p50, p99=3 * p50)


class Page(HTMLParser):
    """Reads a page, and fails where a tag is closed that is not the innermost open one."""

    VOID = frozenset({"meta", "img", "source", "link", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.cells: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "srcset")]
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open[-1:] in (["td"], ["th"]):
            self.cells[-1] += data


def read(content: str) -> Page:
    found = Page()
    found.feed(content)
    found.close()
    return found


def column(found: tables.Table, head: str) -> list[str]:
    return [row[found.head.index(head)] for row in found.rows]


# -- whatever the results ---------------------------------------------------------------------------------------------


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(made=RESULTS)
def test_markdown_shows_what_the_tables_hold(made: Results) -> None:
    """A reader of CommonMark with tables sees each cell as it was meant, and as many of them in every row."""
    rendered = MarkdownIt("commonmark").enable("table").render(table.markdown(made))
    cells = [html.unescape(re.sub(r"</?strong>", "", cell)) for cell in re.findall(r"<t[dh](?: [^>]*)?>(.*?)</t[dh]>", rendered, re.S)]
    shown = [found for found in tables.all_tables(made) if found.rows]
    assert cells == [cell for found in shown for row in (found.head, *found.rows) for cell in row]
    assert rendered.count("<table>") == len(shown) and rendered.count("<h1>") == 1
    lines = table.markdown(made).splitlines()
    for line, following in pairwise(lines):
        if line.startswith("|") and following.startswith("|"):
            assert bars(line) == bars(following)


def bars(line: str) -> int:
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(made=RESULTS)
def test_tables_name_every_engine_and_every_failure(made: Results) -> None:
    found = tables.all_tables(made)
    assert all(len(row) == len(each.head) for each in found for row in each.rows)
    names = [texts.one_line(engine.name) for engine in made.engines]
    for each in found:
        if each.head[0] == "engine" and each.title != "Failures":
            assert column(each, "engine") == names
    failed = [row for each in found if each.title == "Failures" for row in each.rows]
    wanted = [(engine.name, engine.failure.step, engine.failure.message) for engine in made.engines if engine.failure]
    assert failed == [[texts.one_line(part) for part in parts] for parts in wanted]
    for each in found:
        text = " ".join(columns for columns, _ in each.explained)
        assert each.title not in ("Quality and speed", "Cost", "Agreement with the exact ranking") or all(
            is_explained(head, text) for head in each.head[1:]
        )


def is_explained(head: str, text: str) -> bool:
    """Whether a line below the table speaks of the column: "nDCG@10", "ms top 10 p50, p95, p99", "agreement at k"."""
    general = re.sub(r" at \d+$", " at k", head)
    family = re.match(r"ms top \d+|queries/s", head)
    return general in text or (family is not None and f"{family.group()}" in text and head.split()[-1].rstrip("s") in text)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None)
@given(made=RESULTS)
def test_any_report_is_written_whole(made: Results, tmp_path: Path) -> None:
    """With empty pictures, as drawing takes long: test_reporting_plots.py draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "shown_picture", lambda picture: ShownPicture(picture.title, picture.caption, b"", b""))
        files = write_report(tmp_path / "out", made)
    assert [file.name for file in files] == ["results.json", "table.md", "index.html"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["index.html", "results.json", "table.md"]
    assert Results.read(tmp_path / "out") == made
    found = read(files[2].read_text(encoding="utf-8"))
    assert found.open == ["html", "body"] or found.open == []
    assert all(source.startswith("data:image/png;base64,") for source in found.sources)
    assert found.links == ["table.md", "results.json"]
    wanted = [cell for each in tables.all_tables(made) if each.rows for row in (each.head, *each.rows) for cell in row]
    assert found.cells == wanted


@given(text=st.text() | NAMES)
def test_a_line_has_no_line_end_and_no_control_character(text: str) -> None:
    shown = texts.one_line(text)
    assert shown == shown.strip() and len(shown.splitlines()) <= 1 and not re.search(r"[\x00-\x1f\x7f-\x9f]", shown)
    assert texts.one_line(shown) == shown


# -- figures ----------------------------------------------------------------------------------------------------------


def test_number_formats() -> None:
    assert [texts.share(value) for value in (0.47123, 1, 0, None, math.nan)] == ["0.4712", "1.0000", "0.0000", "-", "-"]
    assert [texts.megabytes(value) for value in (92_000_000, 1_234_567_890, 48_512, 0, None)] == ["92", "1,235", "0.0485", "0", "-"]
    assert texts.facts({"version": "1.2", "settings": {"shards": 2, "factor": 0.80125, "exact": True}}) == (
        "version 1.2, settings.shards 2, settings.factor 0.80125, settings.exact true"
    )
    assert texts.facts({}) == "-"
    assert texts.names(["a", "b", "c"], 2) == "a, b and 1 more"


def test_the_figures_are_the_results() -> None:
    one = EngineResult(
        name="numba",
        build=Build(seconds=12.34, documents_per_second=81.04, bytes_on_disk=5_000_000, peak_memory=250_000_000),
        query_ms=latency(7.0),
        memory=123_400_000,
        latency_ms={10: latency(0.1234), 1000: latency(1.5)},
        queries_per_second={10: {1: 8103.7, 2: 15000.0}},
        quality={"nDCG@10": 0.47126},
        agreement={10: Agreement(agreement=0.99, engine_error=0.004, quantisation_loss=0.006)},
    )
    speed, cost, agreement = tables.all_tables(results(one))[:3]
    assert speed.rows == [["numba", "0.4713", "-", "-", "-", "7", "0.123", "0.247", "0.370", "1.50", "3", "4.50", "8,104", "15,000"]]
    assert cost.rows == [["numba", "12.3", "81.0", "5", "5,000", "250", "123"]]
    assert agreement.rows == [["numba", "0.9900", "0.0040", "0.0060", "-", "-", "-"]]


def test_the_best_of_a_column_is_bold_only_where_there_is_a_choice() -> None:
    def engine(name: str, ms: float | None, quality: float) -> EngineResult:
        return EngineResult(name=name, latency_ms={} if ms is None else {10: latency(ms)}, quality={"nDCG@10": quality})

    found = tables.quality_and_speed(results(engine("a", 2.0, 0.5), engine("b", 1.0, 0.5), engine("c", None, 0.50001)))
    assert {(row, found.head[place]) for row, place in found.best} == {(1, f"ms top 10 {p}") for p in ("p50", "p95", "p99")}
    alone = tables.quality_and_speed(results(engine("a", 2.0, 0.5), engine("b", None, 0.4)))
    assert {(row, alone.head[place]) for row, place in alone.best} == {(0, "nDCG@10")}
    assert "**0.5000**" in table.markdown(results(engine("a", 2.0, 0.5), engine("b", None, 0.4)))


@given(values=st.lists(st.floats(0, 1) | st.none(), min_size=1, max_size=5))
def test_bold_cells_show_the_best_value(values: list[float | None]) -> None:
    engines = [EngineResult(name=str(n), quality={} if value is None else {"nDCG@10": value}) for n, value in enumerate(values)]
    found = tables.quality_and_speed(results(*engines))
    shown = column(found, "nDCG@10")
    measured = [cell for cell in shown if cell != "-"]
    wanted = {row for row, cell in enumerate(shown) if cell == max(measured, default="-")} if len(set(measured)) > 1 else set()
    assert {row for row, _ in found.best} == wanted


def test_a_report_without_pruning_and_failures_has_no_tables_of_them() -> None:
    titles = [each.title for each in tables.all_tables(results())]
    assert titles == ["Quality and speed", "Cost", "Agreement with the exact ranking", "Versions and settings"]
    assert table.markdown(results()).count("No engine was measured.") == 4


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputFileError, match="cannot be written"):
        write_report(tmp_path / "file", results())
    assert (tmp_path / "file").read_text() == "kept"


def test_without_matplotlib_the_figures_are_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")

    monkeypatch.setattr("splade_ptbr_connectors.extras.importlib.import_module", missing)
    with pytest.raises(MissingExtraError, match=r"connectors\[plots\]"):
        write_report(tmp_path, results(EngineResult(name="numba", latency_ms={10: latency(1.0)})))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["results.json", "table.md"]


def test_the_page_says_why_a_picture_is_not_drawn() -> None:
    text = read(page.page(results(EngineResult(name="numba", failure=Failure(step="build", message="no room"))))).text
    for title in ("nDCG@10 against latency", "nDCG@10 against size", "Latency", "Agreement with the exact ranking", "Static pruning"):
        assert f"Not drawn, {title}: " in text
    assert "Failed, see below: numba." in text and "no room" in text


def test_a_failed_drawing_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(tmp_path, results())
    old = (tmp_path / "index.html").read_bytes()
    monkeypatch.setattr(page, "page", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(tmp_path, results(EngineResult(name="numba")))
    assert (tmp_path / "index.html").read_bytes() == old
