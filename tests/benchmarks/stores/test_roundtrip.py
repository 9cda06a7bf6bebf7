"""The command that compares round trips runs without a server, on every side."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from benchmarks import __main__ as program


def test_both_measurements_are_made_and_every_side_answers() -> None:
    arguments = ["roundtrip", "--documents", "1000", "--searches", "10", "--rounds", "1", "--json"]
    done = CliRunner().invoke(program.app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    decoder, text = json.JSONDecoder(), done.output.strip()
    searching, end = decoder.raw_decode(text)
    loading = json.loads(text[end:])
    assert searching["searches_per_second"].keys() == {"qdrant-client", "qdrant-client, connections kept", "open_store"}
    assert loading["documents_per_second"].keys() == {"upload_points(batch_size=256)", "ingest"}
    assert [each["goal"] for each in (*searching["comparisons"], *loading["comparisons"])] == [0.75, None, 0.95]
