"""Pictures of a report: their dots are the results', and no name lies on another."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.comparison.report import pictures as plots
from benchmarks.comparison.report.page import page
from benchmarks.comparison.report.scatter import Dot, scatter
from benchmarks.comparison.report.text import one_line, short
from benchmarks.comparison.results import Agreement, Build, EngineResult, PrunedResult, Results, WorkloadFacts
from benchmarks.harness.latency import Latency
from splade_ptbr_connectors.plots.picture import Picture
from tests.benchmarks.comparison.test_report import RESULTS

pytest.importorskip("matplotlib")
from splade_ptbr_connectors.plots.style import DARK, LIGHT, Theme, printable, themed

MAKERS = [plots.quality_by_latency, plots.quality_by_size, plots.latency, plots.agreement, plots.pruning]
LONG = "opensearch:analysis=portuguese,heap=4g,heap_factor=1.0,query_cut=10,two_phase=true,shards="


def results(*engines: EngineResult, pruning: tuple[PrunedResult, ...] = (), judged: int = 50) -> Results:
    facts: dict[str, Any] = {"documents": 1000, "queries": 50, "terms_per_document": 120.0, "terms_per_query": 20.0}
    return Results(
        workload=WorkloadFacts(name="w", model="m", judged_queries=judged, **facts),
        machine={},
        engines=list(engines),
        pruning=list(pruning),
    )


def latencies(*p50: float) -> dict[int, Latency]:
    return {k: Latency(mean=ms, p50=ms, p95=2 * ms, p99=3 * ms) for k, ms in zip((10, 1000), p50, strict=False)}


def engine(name: str, ms: float = 1.0, quality: float | None = 0.5, error: float = 0.01, loss: float = 0.02) -> EngineResult:
    return EngineResult(
        name=name,
        build=Build(seconds=1, documents_per_second=1000, bytes_on_disk=int(500_000 * ms), peak_memory=10**7),
        latency_ms=latencies(ms, 3 * ms),
        quality={} if quality is None else {"nDCG@10": quality},
        agreement={k: Agreement(agreement=1 - error, engine_error=error, quantisation_loss=loss) for k in (10, 1000)},
    )


def pruned(pruning: str, terms: float, ms: float | None = 1.0, quality: float | None = 0.5) -> PrunedResult:
    measured = {} if ms is None else latencies(ms)
    judged = {} if quality is None else {"nDCG@10": quality}
    agreement = {10: terms / 200}
    return PrunedResult(
        pruning=pruning, terms_per_document=terms, bytes_on_disk=1, latency_ms=measured, quality=judged, agreement=agreement
    )


def drawn(picture: Picture | plots.Missing, theme: Theme = LIGHT) -> Any:
    assert isinstance(picture, Picture)
    with themed(theme):
        figure = picture.draw(theme)
        figure.draw_without_rendering()
    return figure


def texts(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def dots(axes: Any) -> set[tuple[float, float]]:
    from matplotlib.collections import PathCollection

    scattered = [drawn for drawn in axes.collections if isinstance(drawn, PathCollection)]
    return {(round(x, 9), round(y, 9)) for drawn in scattered for x, y in np.asarray(drawn.get_offsets()).tolist()}


# -- what is drawn is what was measured -------------------------------------------------------------------------------


def test_dots_are_the_measured_engines() -> None:
    made = results(engine("a", 1.0, 0.5), engine("b", 20.0, 0.4), engine("nothing judged", 3.0, None))
    picture = plots.quality_by_latency(made)
    figure = drawn(picture)
    assert dots(figure.axes[0]) == {(1.0, 0.5), (20.0, 0.4)} and figure.axes[0].get_xscale() == "log"
    assert {"a", "b", "nDCG@10"} <= set(texts(figure))
    assert isinstance(picture, Picture) and picture.caption.endswith("Not measured, so not shown: nothing judged.")
    assert dots(drawn(plots.quality_by_size(made)).axes[0]) == {(500.0, 0.5), (10_000.0, 0.4)}


def test_without_judgments_the_agreement_stands_for_quality() -> None:
    figure = drawn(plots.quality_by_latency(results(engine("a", quality=None, error=0.25), judged=0)))
    assert dots(figure.axes[0]) == {(1.0, 0.75)} and "agreement at 10 (nothing is judged)" in texts(figure)
    curve = drawn(plots.pruning(results(pruning=(pruned("none", 120, quality=None), pruned("top_k=60", 60, quality=None)), judged=0)))
    assert dots(curve.axes[0]) == {(120.0, 0.6), (60.0, 0.3)} and "agreement at 10 (nothing is judged)" in texts(curve)


@pytest.mark.parametrize("slowest", [3.0, 900.0])
def test_latencies_are_the_measured_ones_on_either_axis(slowest: float) -> None:
    figure = drawn(plots.latency(results(engine("a", 1.0), engine("b", slowest))))
    axes = figure.axes[0]
    assert axes.get_xscale() == ("log" if slowest > 100 else "linear")
    marks = {(bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in axes.patches} | dots(axes)
    wanted = [(times * ms, row) for row, ms in enumerate((1.0, slowest)) for times in (1, 2, 3)]
    assert sorted(marks) == [pytest.approx(mark) for mark in sorted(wanted)]
    assert axes.get_xlim()[0] <= 1.0 and axes.get_xlim()[1] >= 3 * slowest
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_losses_are_stacked_in_per_cent() -> None:
    figure = drawn(plots.agreement(results(engine("exact", error=0, loss=0), engine("b", error=0.03, loss=0.01))))
    for axes in figure.axes:
        bars = [(round(bar.get_x(), 9), round(bar.get_width(), 9)) for bar in axes.patches]
        assert bars == [(0, 0), (0, 3), (0, 0), (3, 1)]
        assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first engine is at the top
    assert {"0 %", "4 %", "engine error", "quantisation loss"} <= set(texts(figure))


def test_an_engine_without_one_of_the_top_ks_is_said_to_lack_it() -> None:
    half = engine("a").model_copy(update={"latency_ms": latencies(1.0), "agreement": {}})
    assert "not measured" in texts(drawn(plots.latency(results(half))))
    assert isinstance(plots.agreement(results(half)), plots.Missing)


def test_every_kind_of_pruning_is_a_line_that_ends_at_the_unpruned_point() -> None:
    points = (pruned("top_k=8", 8, 0.4, 0.3), pruned("top_k=64", 64, 1.1, 0.48), pruned("mass=0.9", 90))
    made = results(pruning=(pruned("none", 120, 2.0, 0.5), *points))
    figure = drawn(plots.pruning(made))
    quality, speed = figure.axes
    assert {tuple(map(tuple, line.get_xydata().tolist())) for line in quality.lines} == {
        ((8, 0.3), (64, 0.48), (120, 0.5)),
        ((90, 0.5), (120, 0.5)),
    }
    assert dots(speed) == {(8, 0.4), (64, 1.1), (90, 1.0), (120, 2.0)}
    assert {"top_k", "mass", "not pruned", "8", "64", "0.9"} <= set(texts(figure))


def test_panels_without_data_say_so() -> None:
    figure = drawn(plots.pruning(results(pruning=(pruned("none", 120, None), pruned("top_k=8", 8, None)))))
    assert "not measured" in texts(figure)


@pytest.mark.parametrize("unpruned", [(), (pruned("none", 120),)])
def test_a_sweep_without_pruned_points_is_no_picture(unpruned: tuple[PrunedResult, ...]) -> None:
    assert isinstance(plots.pruning(results(pruning=unpruned)), plots.Missing)


# -- legible ----------------------------------------------------------------------------------------------------------


@given(name=st.text(max_size=100) | st.text("ab -,=", max_size=80), width=st.integers(8, 40))
def test_names_in_pictures_are_two_lines_at_most(name: str, width: int) -> None:
    lines = short(name, width).split("\n")
    assert len(lines) <= 2 and all(len(line) <= width for line in lines)
    whole = printable(one_line(name))
    start, end = whole[: width - 2].replace(" ", ""), whole[-(width - 2) :].replace(" ", "")
    shown = "".join(lines).replace(" ", "")
    assert shown == (whole.replace(" ", "") if len(whole) <= 2 * width - 2 else f"{start}…{end}")


def overlapping(figure: Any, names: set[str]) -> list[tuple[str, str]]:
    """Pairs of names that cover each other, or a name and the border of the picture that it crosses."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    renderer: Any = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    boxes = [(text.get_text(), Text.get_window_extent(text, renderer)) for text in figure.findobj(Text) if text.get_text() in names]
    assert {text for text, _ in boxes} == names
    outside = [(text, "border") for text, box in boxes if not (figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1)]
    return outside + [(one, other) for (one, a), (other, b) in combinations(boxes, 2) if a.overlaps(b)]


def test_eight_engines_with_long_names_in_one_place_stay_legible() -> None:
    made = results(*(engine(f"{LONG}{n}", 2 + 0.01 * n, 0.47 + 0.0001 * n) for n in range(8)))
    for theme in (LIGHT, DARK):
        figure = drawn(plots.quality_by_latency(made), theme)
        names = {text for text in texts(figure) if "shards" in text}
        assert len(names) == 8 and overlapping(figure, names) == []


@settings(max_examples=12, deadline=None)
@given(points=st.lists(st.tuples(st.floats(1e-3, 1e5), st.floats(0, 1)), min_size=1, max_size=9))
def test_no_name_lies_on_another(points: list[tuple[float, float]]) -> None:
    with themed(LIGHT):
        figure = scatter([Dot(f"engine {n}", x, y) for n, (x, y) in enumerate(points)], "t", "x", "y", LIGHT)
        figure.draw_without_rendering()
        assert overlapping(figure, {f"engine {n}" for n in range(len(points))}) == []


@given(decades=st.floats(0.48, 9), low=st.floats(1e-4, 1e3))
@settings(max_examples=25, deadline=None)
def test_a_logarithmic_axis_has_between_two_and_a_dozen_ticks(decades: float, low: float) -> None:
    from benchmarks.comparison.report.scatter import log_axis
    from splade_ptbr_connectors.plots.style import new_figure

    with themed(LIGHT):
        axes = new_figure(6, 3, "t").subplots()
        log_axis(axes, [low, low * 10**decades])
        left, right = axes.get_xlim()
        shown = [tick for tick in axes.xaxis.get_majorticklocs().tolist() if left <= tick <= right]
    assert 2 <= len(shown) <= 12


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(made=RESULTS.filter(lambda made: len(made.engines) > 1), maker=st.sampled_from(MAKERS))
def test_whatever_is_missing_a_picture_is_drawn_or_left_out(made: Results, maker: Callable[[Results], Picture | plots.Missing]) -> None:
    picture = maker(made)
    assert isinstance(picture, plots.Missing) or drawn(picture).axes


def test_a_page_holds_every_picture_for_light_and_dark() -> None:
    points = (pruned("none", 120), pruned("top_k=8", 8))
    found = page(results(engine("a"), engine("b", 3.0, 0.6), pruning=points))
    assert found.count("data:image/png;base64,iVBOR") == 2 * len(MAKERS) and "Not drawn" not in found
