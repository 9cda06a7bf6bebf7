"""splade-ptbr delete."""

from __future__ import annotations

import json
from pathlib import Path

from splade_ptbr_connectors.stores import open_store
from tests.support.encoders import HashingEncoder

from .conftest import Command, assert_fails


def ids(url: str, tenant: str | None = None) -> set[str]:
    with open_store(url, encoder=HashingEncoder("mini"), tenant=tenant) as store:
        return {entry.doc_id for entry in store.scan(with_vectors=False)}


def test_by_ids_those_that_are_there(cli: Command, filled: str) -> None:
    before = ids(filled)
    assert cli("delete", "4", "nenhum", "--store", filled, "--dry-run", "--json").json["documents"] == 1
    assert ids(filled) == before
    outcome = cli("delete", "4", "nenhum", "--store", filled)
    assert (outcome.code, outcome.out.strip(), outcome.err) == (0, f"1 document deleted from {filled}", "")
    assert ids(filled) == before - {"4"}
    assert cli("delete", "4", "--store", filled, "--json").json == {"store": filled, "tenant": None, "documents": 0, "dry_run": False}


def test_by_a_filter(cli: Command, filled: str) -> None:
    with open_store(filled, encoder=HashingEncoder("mini")) as store:
        health = {entry.doc_id for entry in store.scan() if entry.payload.get("metadata", {}).get("subject") == "saúde"}
    before, asked = ids(filled), ("delete", "--store", filled, "--filter", '{"metadata.subject": "saúde"}')
    assert f"{len(health)} documents would be deleted" in cli(*asked, "--dry-run").out
    assert cli(*asked, "--json").json["documents"] == len(health) > 0
    assert ids(filled) == before - health


def test_a_misspelt_field_behind_not_deletes_nothing(cli: Command, filled: str) -> None:
    before = ids(filled)
    for everything in ('{"metadata.subjet": {"not": "saúde"}}', '{"subject": {"exists": false}}'):
        assert_fails(cli("delete", "--store", filled, "--filter", everything), 2, "which no document has", "nothing was deleted")
    assert cli("delete", "--store", filled, "--filter", '{"metadata.subjet": "saúde"}', "--json").json["documents"] == 0
    assert ids(filled) == before


def test_an_id_that_begins_with_a_dash_stands_behind_two(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(json.dumps({"_id": "-x", "text": "casa"}) + "\n", encoding="utf-8")
    cli("ingest", "one.jsonl", "--store", "edge:traços")
    assert cli("delete", "--store", "edge:traços", "--json", "--", "-x").json["documents"] == 1


def test_of_one_tenant_alone(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(json.dumps({"_id": "a", "text": "casa"}) + "\n", encoding="utf-8")
    for tenant in ("um", "dois"):
        assert cli("ingest", "one.jsonl", "--store", "edge:lojas", "--tenant", tenant).code == 0
    assert cli("delete", "a", "--store", "edge:lojas", "--tenant", "um", "--json").json["documents"] == 1
    assert (ids("edge:lojas", "um"), ids("edge:lojas", "dois")) == (set(), {"a"})


def test_nothing_or_everything_is_refused(cli: Command, filled: str) -> None:
    before = ids(filled)
    assert_fails(cli("delete", "--store", filled), 2, "nothing to delete")
    assert_fails(cli("delete", "4", "--store", filled, "--filter", '{"year": 1}'), 2, "ids and a filter")
    for everything in ("{}", '{"$or": [{}]}'):
        for dry in ((), ("--dry-run",)):
            assert_fails(cli("delete", "--store", filled, "--filter", everything, *dry), 2, "name the ones to delete")
    assert_fails(cli("delete", "4", "--store", "edge:nenhum"), 5, "nenhum")
    assert ids(filled) == before


def test_of_a_store_whose_model_is_not_here(cli: Command, tmp_path: Path) -> None:
    with open_store("edge:outro", encoder=HashingEncoder("modelo-de-ninguem")) as store:
        store.upsert_vectors([("a", store.encoder.encode_query("casa")), ("b", store.encoder.encode_query("casa"))])
    assert cli("delete", "a", "--store", "edge:outro", "--json").json["documents"] == 1
