"""Pictures come from the log alone: their numbers are the log's, whatever is missing from it, and the page needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from splade_ptbr_connectors.errors import InputFileError, MissingExtraError
from tests.training import run_logs
from training.commands.plot import plot as plot_command
from training.plots import plot_runs
from training.runlog import read_log

pytest.importorskip("matplotlib")
from splade_ptbr_connectors.plots import style
from splade_ptbr_connectors.plots.picture import Picture, rendered
from splade_ptbr_connectors.plots.text import flat, number
from training.plots.comparison import comparable, comparison_picture
from training.plots.dashboard import dashboard_picture
from training.plots.losses import loss_picture
from training.plots.quality import quality_picture, reason_lines
from training.plots.runs import NamedRun, labelled
from training.plots.sparsity import sparsity_picture
from training.recipe.tables import ABSENT, differences

MAKERS: list[Callable[[NamedRun], Picture | None]] = [loss_picture, sparsity_picture, dashboard_picture, quality_picture]
PNG = b"\x89PNG\r\n\x1a\n"


def named(folder: Path, made: list[dict[str, Any]] | None = None, label: str = "teste") -> NamedRun:
    return NamedRun(label, read_log(run_logs.write(folder, made or run_logs.rows())))


def drawn(picture: Picture | None, theme: style.Theme = style.LIGHT) -> Any:
    assert picture is not None
    with style.themed(theme):
        figure = picture.draw(theme)
        figure.draw_without_rendering()
    return figure


def texts(figure: Any) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


def axes_of(figure: Any, title: str) -> Any:
    return next(axes for axes in figure.axes if axes.get_title(loc="left").startswith(title))


# -- what is drawn is what was logged ---------------------------------------------------------------------------------


def test_lines_are_the_columns_of_the_log(tmp_path: Path) -> None:
    run = named(tmp_path)
    figure = drawn(loss_picture(run))
    lines = {tuple(np.round(line.get_ydata(), 9)) for axes in figure.axes for line in axes.lines}
    numbers = run.log.steps.numbers
    for column in (numbers["loss"], numbers["margin_mse"], numbers["learning_rate"], numbers["lambda_document"], numbers["gradient_norm"]):
        assert tuple(np.round(column, 9)) in lines
    assert tuple(np.round(numbers["lambda_query"] * numbers["regularizer_query"], 9)) in lines


def test_targets_and_ceilings_are_the_recipes(tmp_path: Path) -> None:
    shown = texts(drawn(sparsity_picture(named(tmp_path))))
    assert "target 120" in shown and "ceiling 220" in shown
    without = run_logs.recipe(sparsity={"query": None, "document": None}, validation={"metric": "nDCG@10"})
    made = run_logs.rows()
    made[0]["recipe"] = without
    shown = texts(drawn(sparsity_picture(named(tmp_path, made))))
    assert "target" not in shown and "ceiling" not in shown


def test_the_dashboard_shows_the_measurement_of_the_saved_model(tmp_path: Path) -> None:
    figure = drawn(dashboard_picture(named(tmp_path)))
    shown = texts(figure)
    assert "saved model" in shown
    assert "14,000  (47.0 %)" in shown and "0.800" in shown
    zeros = 100 * (1 - 168 / 29794)
    assert f"{zeros:.2f} %" in shown and "of 29,794" in shown
    for token, share in (("##ção", "61 %"), ("não", "55 %"), ("São", "20 %"), ("$x$", "22 %"), ("U+6F22", "10 %")):
        assert token in shown and share in shown


def test_without_a_vocabulary_size_no_share_is_made_up(tmp_path: Path) -> None:
    made = run_logs.rows()
    del made[0]["data"]["vocab_size"]
    shown = texts(drawn(dashboard_picture(named(tmp_path, made))))
    assert "vocabulary size: not logged" in shown and "99." not in shown


def test_the_chosen_checkpoint_is_marked_and_others_say_why_not(tmp_path: Path) -> None:
    run = named(tmp_path)
    figure = drawn(quality_picture(run))
    shown = texts(figure)
    assert run.log.chosen is not None
    assert f"chosen: step 8, {number(run.log.chosen.mean)}" in shown
    assert "faquad:dev has 900.0 terms per document, more than 220" in shown
    rings = [c for c in axes_of(figure, "nDCG@10").collections if c.get_sizes()[0] > 100]
    assert [ring.get_offsets().tolist() for ring in rings] == [[[8, run.log.chosen.mean]]]


def test_reasons_are_listed_once_with_their_steps(tmp_path: Path) -> None:
    made = [run_logs.start_row(), *(run_logs.validation_row(step, 0.5, reason="too many terms") for step in range(10))]
    made += [run_logs.validation_row(10 + step, 0.5, reason=f"reason {step}") for step in range(9)]
    lines = reason_lines(named(tmp_path, made).log.validations)
    assert lines[0] == "x step 0, 1, 2 and 7 more: too many terms"
    assert len(lines) == 6 and lines[-1] == "and 5 more checkpoints, in the table"


def test_runs_share_axes_and_the_picture_names_their_differences(tmp_path: Path) -> None:
    one = named(tmp_path / "a", run_logs.rows("um"), "um")
    training = run_logs.recipe()["training"] | {"batch_queries": 64}
    two = named(tmp_path / "b", run_logs.rows("dois", seed=2, training=training), "dois")
    figure = drawn(comparison_picture([one, two]))
    shown = texts(figure)
    assert "Where the recipes differ: 2 keys" in shown
    assert "training.batch_queries" in shown and "64" in shown and "\nseed\n" in shown
    assert len(axes_of(figure, "Loss").lines) == 2
    assert len(axes_of(figure, "Quality on validation").lines) == 2


def test_qualities_of_different_measures_never_share_an_axis(tmp_path: Path) -> None:
    made = [row | ({"metric": "RR@10"} if row["event"] == "validation" else {}) for row in run_logs.rows()]
    one, two = named(tmp_path / "a"), named(tmp_path / "b", made)
    assert comparable([one, two]) == "not comparable: measured as RR@10 and nDCG@10"
    figure = drawn(comparison_picture([one, two]))
    assert not axes_of(figure, "Quality on validation").lines or not axes_of(figure, "Quality on validation").axison
    other = [row for row in run_logs.rows() if row["event"] != "validation"]
    other.insert(1, {**run_logs.validation_row(0, 0.5), "splits": {"another:dev": {"quality": 0.5}}})
    assert "different validation splits" in str(comparable([one, named(tmp_path / "c", other)]))


# -- whatever is missing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize(
    "made",
    [
        [run_logs.start_row(), run_logs.step_row(1)],
        [run_logs.start_row(), run_logs.validation_row(0, 0.5)],
        [run_logs.start_row(), *(run_logs.step_row(step, loss=None, terms_query=None) for step in (1, 2))],
        [run_logs.start_row(), *({"event": "step", "step": step, "loss": 0.0} for step in (1, 2, 3))],
        [run_logs.start_row(), {"event": "validation", "step": 3, "metric": "RR@10", "mean": None, "splits": {"a": {"quality": None}}}],
        [run_logs.start_row(), {"event": "validation", "step": 3, "metric": "RR@10", "mean": 0.5, "splits": {}}],
        [{"event": "start", "recipe": {}}, run_logs.step_row(1), run_logs.validation_row(1, 0.2)],
        [run_logs.start_row("ação $x$ 漢 <script>"), *(run_logs.step_row(s, loss=-1.0, contrastive=1e9) for s in range(1, 200))],
        [
            run_logs.start_row(),
            run_logs.step_row(1),
            run_logs.validation_row(1, 0.0, splits={"x" * 90 + str(i): {"quality": 0.1 * i} for i in range(20)}),
        ],
    ],
    ids=["one step", "start only", "null", "only the loss", "no mean", "no split", "no recipe", "odd names and values", "many splits"],
)
def test_every_log_can_be_drawn_without_a_warning(tmp_path: Path, made: list[dict[str, Any]], theme: style.Theme) -> None:
    run = named(tmp_path, made, made[0]["recipe"].get("name", "x"))
    for make in MAKERS:
        picture = make(run)
        assert picture is None or rendered(picture, theme).startswith(PNG)
    assert rendered(comparison_picture([run, run]), theme).startswith(PNG)


def test_a_run_that_has_only_begun_has_nothing_to_draw(tmp_path: Path) -> None:
    run_logs.write(tmp_path, [run_logs.start_row()])
    with pytest.raises(InputFileError, match="nothing to draw"):
        plot_runs([tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- files ------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Tags that must be closed are, and everything the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "source", "html", "p"):
            self.open.append(tag)
        self.loaded += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("html", "p"):
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    folder = tmp_path_factory.mktemp("runs")
    run_logs.write(folder / "a", run_logs.rows("ação"))
    run_logs.write(folder / "b", run_logs.rows("<b>&amp;", seed=7))
    return folder / "plots", plot_runs([folder / "a", folder / "b" / "training.jsonl"], folder / "plots")


def test_a_folder_of_pictures_and_one_page(compared: tuple[Path, list[Path]]) -> None:
    out, files = compared
    kinds = ("quality", "loss", "sparsity", "dashboard")
    assert {file.name for file in files} == {"index.html", "comparison.png"} | {f"run{i}-{kind}.png" for i in (1, 2) for kind in kinds}
    assert set(out.iterdir()) == set(files) and files[-1].name == "index.html"
    assert all(file.read_bytes().startswith(PNG) for file in files[:-1])


def test_the_page_loads_nothing_and_shows_every_figure(compared: tuple[Path, list[Path]]) -> None:
    html = compared[1][-1].read_text(encoding="utf-8")
    page = Page()
    page.feed(html)
    assert page.loaded and all(source.startswith("data:image/png;base64,") for source in page.loaded)
    assert page.open == [] and "http" not in re.sub(r"base64,[^\"]*", "", html)
    assert "prefers-color-scheme: dark" in html and len(page.loaded) == 2 * 9
    assert "&lt;b&gt;&amp;amp;" in html and "<b>" not in html and "##ção 61 %" in html
    assert "no: faquad:dev has 900.0 terms per document" in html and "class=chosen" in html
    assert "<td>seed</td>" in html


def test_the_same_log_gives_the_same_bytes(tmp_path: Path) -> None:
    run_logs.write(tmp_path / "a", run_logs.rows())
    one, two = (plot_runs([tmp_path / "a"], tmp_path / name, svg=True) for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert {path.name for path in one} >= {"loss.png", "loss.svg", "quality.svg", "dashboard.svg", "sparsity.svg"}


def test_a_users_own_settings_change_nothing(tmp_path: Path) -> None:
    import matplotlib

    picture = loss_picture(named(tmp_path))
    assert picture is not None
    expected = rendered(picture, style.LIGHT)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        assert rendered(picture, style.LIGHT) == expected
        assert matplotlib.rcParams["font.size"] == 30


def test_labels_of_runs_are_unique(tmp_path: Path) -> None:
    def labels(*folders: str, names: tuple[str, ...]) -> list[str]:
        logs = [read_log(run_logs.write(tmp_path / folder, run_logs.rows(name))) for folder, name in zip(folders, names, strict=True)]
        return [run.label for run in labelled(logs)]

    assert labels("a", "b", names=("um", "dois")) == ["um", "dois"]
    assert labels("a", "b", names=("um", "um")) == ["a", "b"]
    assert labels("x/r", "y/r", names=("um", "um")) == ["r (1)", "r (2)"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    run_logs.write(tmp_path / "a", run_logs.rows())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputFileError, match="cannot be written"):
        plot_runs([tmp_path / "a"], tmp_path / "file")


def test_without_matplotlib_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")

    run_logs.write(tmp_path / "a", run_logs.rows())
    monkeypatch.setattr("splade_ptbr_connectors.extras.importlib.import_module", missing)
    with pytest.raises(MissingExtraError, match=r"connectors\[plots\]"):
        plot_runs([tmp_path / "a"], tmp_path / "out")


def test_the_command_names_the_page(tmp_path: Path) -> None:
    run_logs.write(tmp_path / "a", run_logs.rows())
    app = typer.Typer()
    app.command()(plot_command)
    result = CliRunner().invoke(app, [str(tmp_path / "a")])
    assert result.exit_code == 0 and result.output.strip() == str(tmp_path / "a" / "plots" / "index.html")
    assert CliRunner().invoke(app, []).exit_code == 2


def test_differences_are_the_keys_whose_values_differ() -> None:
    one = {"name": "a", "note": "x", "seed": 1, "data": {"kind": "k", "empty": {}}, "steps": 10}
    two = {"name": "b", "note": "y", "seed": 1.0, "data": {"kind": "k", "empty": {}, "limit": None}, "steps": 20}
    assert differences([one, two]) == {"steps": [10, 20], "data.limit": [ABSENT, None]}
    assert differences([one, one]) == {} and flat(one)["data.empty"] == {}
