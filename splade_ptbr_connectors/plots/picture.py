"""A picture that can be drawn in any theme, and its bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .style import DARK, LIGHT, Theme, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 130


@dataclass(frozen=True)
class Picture:
    """What is drawn: `name` of its files, `caption` what it shows and how to read it."""

    name: str
    title: str
    caption: str
    draw: Callable[[Theme], Figure]


@dataclass(frozen=True)
class ShownPicture:
    """A drawn picture: PNG bytes for light and for dark pages."""

    title: str
    caption: str
    light: bytes
    dark: bytes


def rendered(picture: Picture, theme: Theme, *, kind: str = "png") -> bytes:
    """The picture's bytes as PNG or SVG; the same figures give the same bytes."""
    target = io.BytesIO()
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    with themed(theme):
        picture.draw(theme).savefig(target, format=kind, dpi=DPI, metadata=metadata)
    return target.getvalue()


def shown_picture(picture: Picture) -> ShownPicture:
    """The picture drawn for a page."""
    return ShownPicture(picture.title, picture.caption, rendered(picture, LIGHT), rendered(picture, DARK))
