"""TREC topics in their markup: <top>, then <num>, <title>, <desc> and <narr>, each with text to the next tag, then </top>."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import ConfigError
from ..files import bad_line, read_lines

FIELDS = {"title": "title", "description": "desc"}
_TAG = re.compile(r"<(num|title|desc|narr)>\s*(?:Number:|Topic:|Description:|Narrative:)?", re.IGNORECASE)
_CLOSING = re.compile(r"</(?:num|title|desc|narr)>", re.IGNORECASE)

Topic = dict[str, str]  # tag -> text


def is_sgml(path: Path) -> bool:
    """Whether a file begins with a topic."""
    _, first = next(read_lines(path))
    return first.lstrip().lower().startswith("<top>")


def read_topics(path: Path, field: str) -> dict[str, str]:
    """Topic number -> text of a field ("title" or "description"), runs of white space made one space.

    Raises:
        ConfigError: another field.
        InputFileError: naming file and line: text outside a topic, a topic that does not end, no number or no text, a number twice.
    """
    if field not in FIELDS:
        raise ConfigError(f"topic_field is {field!r}: it must be one of {', '.join(FIELDS)}.")
    queries: dict[str, str] = {}
    for number, topic in _topics(path):
        query_id, text = topic.get("num", ""), topic.get(FIELDS[field], "")
        if not query_id or not text:
            bad_line(path, number, f"the topic that ends here has no <{FIELDS[field] if query_id else 'num'}>.")
        if query_id in queries:
            bad_line(path, number, f"duplicate topic {query_id!r}.")
        queries[query_id] = text
    return queries


def _topics(path: Path) -> Iterator[tuple[int, Topic]]:
    """(line of </top>, topic)."""
    topic: Topic | None = None
    tag, number = "", 0
    for number, line in read_lines(path):
        mark = line.strip().lower()
        if (mark == "<top>") != (topic is None):
            bad_line(path, number, f"expected {'<top>' if topic is None else '</top> before the next <top>'}, got {line[:80]!r}.")
        if topic is None:
            topic, tag = {}, ""
        elif mark == "</top>":
            yield number, topic
            topic = None
        else:
            tag = _add(path, number, line, topic, tag)
    if topic is not None:
        bad_line(path, number, "the file ends within a topic: </top> is missing.")


def _add(path: Path, number: int, line: str, topic: Topic, tag: str) -> str:
    """Add a line to a topic; returns the field that it belongs to."""
    found = _TAG.match(line)
    if found:
        tag = found[1].lower()
        if tag in topic:
            bad_line(path, number, f"the topic has <{tag}> twice.")
        topic[tag], line = "", line[found.end() :]
    if not tag:
        bad_line(path, number, f"expected <num>, <title>, <desc> or <narr>, got {line[:80]!r}.")
    topic[tag] = " ".join(f"{topic[tag]} {_CLOSING.sub('', line)}".split())
    return tag
