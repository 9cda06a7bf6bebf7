"""HTML that every page of pictures and figures is made of: one file, readable in light and dark, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from html import escape

from training.plots.picture import ShownPicture


def document(title: str, body: Sequence[str]) -> str:
    """The text of a whole page; `title` is plain text, `body` HTML, of which empty parts are left out."""
    parts = (_BEFORE_TITLE, escape(title), _BEFORE_BODY, "\n".join(part for part in body if part), _AFTER_BODY)
    return "".join(parts)


def figure(picture: ShownPicture) -> str:
    """A picture with its caption, both themes embedded; on narrow screens it scrolls rather than becoming unreadable."""
    light, dark = (f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}" for data in (picture.light, picture.dark))
    return (
        f'<figure><div class=scroll><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{escape(picture.title)}: {escape(picture.caption)}"></picture></div>'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    marked: int | None = None,
    figures: Collection[int] | None = None,
    best: Collection[tuple[int, int]] = (),
) -> str:
    """An HTML table with its figures aligned to the right.

    Args:
        marked: the row that is emphasised.
        figures: the columns that hold figures; None: any cell that looks like one.
        best: (row, column) of the cells that are emphasised.
    """
    heads = (f"<th{' class=n' if figures and place in figures else ''}>{escape(cell)}</th>" for place, cell in enumerate(head))
    lines = ["<div class=scroll><table><thead><tr>", *heads, "</tr></thead><tbody>"]
    for place, row in enumerate(rows):
        lines.append("<tr class=chosen>" if place == marked else "<tr>")
        for column, cell in enumerate(row):
            right = column in figures if figures is not None else cell[:1].isdigit() or cell == "-"
            lines.append(f"<td{_classes(n=right, best=(place, column) in best)}>{escape(cell)}</td>")
        lines.append("</tr>")
    return "".join([*lines, "</tbody></table></div>"])


def _classes(**wanted: bool) -> str:
    names = [name for name, there in wanted.items() if there]
    return f' class="{" ".join(names)}"' if len(names) > 1 else f" class={names[0]}" if names else ""


_BEFORE_TITLE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>"""
_BEFORE_BODY = """</title>
<style>
:root { color-scheme: light dark; --ink: #1f2328; --muted: #656d76; --line: #d8dce1; --back: #ffffff; --mark: #fdf1e3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --muted: #99a1ad; --line: #2c323a; --back: #14171c; --mark: #33281a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 1180px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 3rem; } h3 { font-size: 1rem; margin: 1.8rem 0 .4rem; }
figure { margin: 1.8rem 0; } img { max-width: 100%; height: auto; display: block; } figcaption { color: var(--muted); font-size: .9rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; }
th, td { text-align: left; padding: .22rem .8rem .22rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--muted); font-weight: 600; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
tr.chosen td { background: var(--mark); font-weight: 600; } summary { cursor: pointer; margin-top: 1.5rem; }
th.n { text-align: right; } td.best { font-weight: 700; } a { color: inherit; }
th:first-child, td:first-child:not(.n) { position: sticky; left: 0; background: var(--back); min-width: 6rem; overflow-wrap: anywhere; }
.explained { color: var(--muted); font-size: .85rem; padding-left: 1.1rem; margin: .5rem 0 1.5rem; }
@media (max-width: 44rem) { figure img { max-width: none; width: 44rem; } }
</style>
<body>
"""
_AFTER_BODY = """
</body>
</html>
"""
