"""The commands on a real OpenSearch: load, search, verify, doctor, adopt, aliases, and a re-index while searches go on."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

from splade_ptbr_connectors.stores import open_store
from tests.cli.conftest import Command, assert_fails, clean_settings, cli, corpus, filled, write_jsonl
from tests.support.collections import documents
from tests.support.encoders import HashingEncoder

__all__ = ["clean_settings", "cli", "corpus", "filled"]  # fixtures


def indices(raw: OpenSearch, name: str) -> set[str]:
    return set(raw.indices.get(index=f"{name}*", params={"ignore_unavailable": "true"}))


def test_load_search_verify_and_doctor(cli: Command, corpus: Path, store_url: str, filled: str) -> None:
    first = cli("ingest", corpus, "--store", store_url, "--setting", "replicas=0", "--json").json
    again = cli("ingest", corpus, "--store", store_url, "--json").json
    assert (first["written"], again["unchanged"], again["documents"], first["reconciled"]["ok"]) == (4, 4, 4, True)
    hits = cli("search", "gripe e febre", "--store", store_url, "--json").json["hits"]
    expected = cli("search", "gripe e febre", "--store", filled, "--json").json["hits"]
    assert [(hit["doc_id"], hit["score"]) for hit in hits] == [(hit["doc_id"], hit["score"]) for hit in expected]
    assert cli("verify", corpus, "--store", store_url).code == 0
    found = cli("doctor", "--store", store_url, "--json").json["store"]
    assert found["documents"] == 4 and found["model"] == "mini" and found["problems"] == []
    assert found["info"]["distribution"] == "opensearch"
    assert ("neural-search" in " ".join(found["lacks"])) == (not found["info"]["neural_sparse"])


def test_an_index_of_unknown_origin_is_adopted(cli: Command, corpus: Path, store_url: str, raw: OpenSearch, index_name: str) -> None:
    assert cli("ingest", corpus, "--store", store_url, "--setting", "replicas=0").code == 0
    [index] = indices(raw, index_name)
    raw.indices.put_mapping(index=index, body={"_meta": {}})
    assert "adopt" in cli("doctor", "--store", store_url, "--json").json["store"]["problems"][0]
    assert cli("adopt", "--store", store_url, "--model", "mini", "--json").json["changed"] is True
    assert cli("adopt", "--store", store_url, "--model", "mini", "--json").json["changed"] is False
    assert_fails(cli("adopt", "--store", store_url, "--model", "outro"), 4, "'mini'", "'outro'")
    assert cli("doctor", "--store", store_url).code == 0


def test_an_alias_is_made_shown_and_moved(cli: Command, corpus: Path, store_url: str, index_name: str) -> None:
    first, second, alias = (f"{index_name}-{suffix}" for suffix in ("1", "2", "a"))
    base = store_url.removesuffix(index_name)
    for name in (first, second):
        assert cli("ingest", corpus, "--store", base + name, "--setting", "replicas=0").code == 0
    assert cli("alias", "--store", base + alias, "--to", first, "--json").json["previous"] is None
    assert cli("alias", "--store", base + alias, "--to", second, "--json").json["previous"] == first
    assert cli("alias", "--store", base + alias, "--json").json["collection"] == second
    assert cli("alias", "--store", base + first, "--json").json["is_alias"] is False


def test_reindex_under_an_alias_while_searches_go_on(
    cli: Command, store_url: str, raw: OpenSearch, index_name: str, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "velho.jsonl", documents(120))
    write_jsonl(tmp_path / "novo.jsonl", documents(150, start=60))
    first = cli("reindex", "velho.jsonl", "--store", store_url, "--setting", "replicas=0", "--json").json
    assert first["moved"] and first["previous"] is None
    with searching(store_url) as seen:
        report = cli("reindex", "novo.jsonl", "--store", store_url, "--setting", "replicas=0", "--json").json
    assert seen.failures == [] and seen.counts[0] == 120 and set(seen.counts) <= {120, 150} and seen.counts == sorted(seen.counts)
    assert report["moved"] and report["previous"] == first["collection"] and report["verified"]["ok"]
    assert report["to_delete"].endswith("/" + first["collection"]) and "/collections/" not in report["to_delete"]
    assert indices(raw, index_name) == {first["collection"], report["collection"]}
    assert cli("verify", "novo.jsonl", "--store", store_url).code == 0


def test_a_stopped_reindex_goes_on_with_its_index(
    cli: Command, store_url: str, raw: OpenSearch, index_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped as Ctrl-C stops it, in the middle of the encoding."""
    from tests.cli import conftest

    write_jsonl(tmp_path / "c.jsonl", documents(900))
    encode = conftest.StandInEncoder._encode

    def interrupted(self: Any, text: str) -> Any:
        if self.texts_encoded == 700:
            raise KeyboardInterrupt
        return encode(self, text)

    monkeypatch.setattr(conftest.StandInEncoder, "_encode", interrupted)
    assert cli("reindex", "c.jsonl", "--store", store_url, "--setting", "replicas=0").code == 130
    monkeypatch.setattr(conftest.StandInEncoder, "_encode", encode)
    [unfinished] = indices(raw, index_name)
    report = cli("reindex", "c.jsonl", "--store", store_url, "--setting", "replicas=0", "--json").json
    assert report["collection"] == unfinished and report["moved"] and report["ingest"]["resumed_at"] > 0
    assert json.dumps(report) and indices(raw, index_name) == {unfinished}


class searching:
    """A thread that searches through the URL, and opens the store anew now and then as services restart."""

    def __init__(self, url: str) -> None:
        self.counts: list[int] = []
        self.failures: list[BaseException] = []
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._search)

    def __enter__(self) -> searching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _search(self) -> None:
        try:
            while not self._stop.is_set():
                with open_store(self._url, encoder=HashingEncoder("mini"), create=False) as store:
                    for _ in range(5):
                        assert store.search("documento", 10_000)
                    self.counts.append(store.count())
        except BaseException as error:
            self.failures.append(error)
