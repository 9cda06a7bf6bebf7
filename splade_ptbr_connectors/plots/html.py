"""HTML pages of pictures and figures: one file, readable in light and dark, nothing loaded from elsewhere.

templates/page.html is the frame of a page; templates/parts.html has its parts, `figure` for a ShownPicture and `table`.
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..extras import require

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def rendered_page(template: Path, **values: Any) -> str:
    """The text of a page; the same values give the same text.

    Args:
        template: a Jinja template; it may extend "page.html" and import "parts.html". Values are escaped.

    Raises:
        MissingExtraError: without the extra [plots].
    """
    return _environment(template.parent).get_template(template.name).render(values)


@cache
def _environment(folder: Path) -> Environment:
    jinja2: Any = require("jinja2", "writing a page")
    environment: Environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    environment.tests["figure"] = lambda cell: cell[:1].isdigit() or cell == "-"
    return environment
