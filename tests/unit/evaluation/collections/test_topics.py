"""TREC's topics, compared with ir_datasets' reader."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_datasets.formats import TrecQueries
from ir_datasets.util import LocalDownload

from splade_ptbr_connectors.errors import ConfigError, InputFileError
from splade_ptbr_connectors.evaluation.collections import open_collection
from splade_ptbr_connectors.evaluation.collections.topics import read_topics
from tests.unit.evaluation.collections.writing import EXAMPLE, write, write_tsv

LINES = st.lists(
    st.text(alphabet="abc é?.,:'<3", min_size=1, max_size=12).filter(lambda line: bool(line.strip(" <"))), min_size=1, max_size=3
)
PLAIN = LINES.map(lambda lines: "\n".join(line.lstrip(" <") for line in lines))
TOPICS = st.dictionaries(st.integers(1, 999).map(str), st.tuples(PLAIN, PLAIN, PLAIN), min_size=1, max_size=5)

TOPIC = """<top>

<num> Number: 301
<title> International Organized Crime

<desc> Description:
Identify organizations that participate
in international criminal activity.

<narr> Narrative:
A relevant document must
name it.

</top>
"""


def markup(topics: dict[str, tuple[str, str, str]], *, closed: bool = False) -> str:
    end = "</title>" * closed
    return "\n".join(
        f"<top>\n\n<num> Number: {number} \n<title> {title}{end}\n\n<desc> Description: \n{desc}\n\n<narr> Narrative: \n{narr}\n\n</top>\n"
        for number, (title, desc, narr) in topics.items()
    )


@given(TOPICS, st.sampled_from(["title", "description"]), st.booleans())
def test_topics_are_those_that_ir_datasets_reads(topics: dict[str, tuple[str, str, str]], field: str, closed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "topics.txt", markup(topics, closed=closed))
        theirs = {query.query_id: " ".join(getattr(query, field).split()) for query in TrecQueries(LocalDownload(path)).queries_iter()}
        assert read_topics(path, field) == theirs
    place = ("title", "description").index(field)
    assert theirs == {number: " ".join(texts[place].split()) for number, texts in topics.items()}


def test_a_topic_as_trec_publishes_it(tmp_path: Path) -> None:
    path = write(tmp_path / "topics.txt", TOPIC)
    assert read_topics(path, "title") == {"301": "International Organized Crime"}
    assert read_topics(path, "description") == {"301": "Identify organizations that participate in international criminal activity."}


@pytest.mark.parametrize("field", ["title", "description"])
def test_mrobust_takes_such_topics_and_says_which_field(tmp_path: Path, field: Literal["title", "description"]) -> None:
    write_tsv(tmp_path, EXAMPLE, {"documents": "collection.tsv", "queries": "unused", "qrels": "qrels.robust2004.txt"})
    topics = {query_id: (f"título {text}", f"descrição {text}", "x") for query_id, text in EXAMPLE.queries.items()}
    write(tmp_path / "04.testset.gz", markup(topics))
    collection = open_collection("mrobust", folder=tmp_path, topic_field=field)
    assert collection.queries == {number: topics[number][field == "description"] for number in ("301", "302")}
    assert f"Queries are the field {field!r} of the topics." in collection.notes


BROKEN = [
    (TOPIC.replace("<num> Number: 301\n", ""), r"line 13: .* no <num>"),
    (TOPIC.replace("International Organized Crime", ""), r"line 14: .* no <title>"),
    (TOPIC + TOPIC, r"line 28: duplicate topic '301'"),
    (TOPIC.replace("</top>", ""), "the file ends within a topic"),
    (TOPIC.replace("</top>", TOPIC), r"line 14: expected </top> before the next <top>"),
    (TOPIC + "leftover\n", r"line 15: expected <top>, got 'leftover'"),
    (TOPIC.replace("<num>", "early\n<num>"), r"line 3: expected <num>, <title>, <desc> or <narr>, got 'early'"),
    (TOPIC.replace("<narr>", "<title> again\n<narr>"), r"line 10: the topic has <title> twice"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_broken_topics_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputFileError, match=message):
        read_topics(write(tmp_path / "topics.txt", text), "title")


def test_a_field_that_topics_do_not_have(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="topic_field is 'narrative': it must be one of title, description"):
        read_topics(write(tmp_path / "topics.txt", TOPIC), "narrative")
