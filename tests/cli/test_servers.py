"""The commands on a store on a server: the stand-in of Qdrant, and a real OpenSearch where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import models

from splade_ptbr_connectors.cli import run_files
from splade_ptbr_connectors.errors import StoreError
from splade_ptbr_connectors.ingestion import reindex as reindexing
from splade_ptbr_connectors.stores import open_store
from tests.support.collections import documents
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import Fault, StandIn, stand_in

from .conftest import Command, assert_fails, write_jsonl

SECRET = "segredo-de-teste"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    for name in ("API_KEY", "CA_CERTS", "VERIFY"):
        monkeypatch.delenv(f"SPLADE_PTBR_QDRANT_{name}", raising=False)
    with stand_in() as running:
        yield running


@pytest.fixture
def url(server: StandIn) -> str:
    return f"qdrant+{server.url}/leis"


def names(server: StandIn) -> set[str]:
    return {collection.name for collection in server.client.get_collections().collections}


# -- ingest, search ----------------------------------------------------------------------------------------------------


def test_a_server_is_loaded_and_searched_like_a_folder(cli: Command, corpus: Path, url: str, filled: str) -> None:
    first = cli("ingest", corpus, "--store", url, "--json").json
    again = cli("ingest", corpus, "--store", url, "--json").json
    assert (first["written"], first["unchanged"], again["written"], again["unchanged"], again["documents"]) == (4, 0, 0, 4, 4)
    assert first["reconciled"]["ok"] and first["refused"] == 0
    on_server, in_folder = (cli("search", "gripe e febre", "--store", where, "--json").json["hits"] for where in (url, filled))
    assert [(hit["doc_id"], hit["score"]) for hit in on_server] == [(hit["doc_id"], hit["score"]) for hit in in_folder]


def test_tenants_see_their_own_documents_only(cli: Command, corpus: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("ingest", corpus, "--store", url, "--tenant", "a", "--json").json["documents"] == 4
    assert cli("search", "gripe", "--store", url, "--tenant", "b", "--json").json["hits"] == []
    monkeypatch.setenv("SPLADE_PTBR_TENANT", "b")
    assert cli("ingest", corpus, "--store", url, "--json").json["documents"] == 4
    assert len(cli("search", "gripe", "--store", url, "--json").json["hits"]) == 2
    assert cli("verify", corpus, "--store", url).code == 0


def test_settings_reach_the_engine_with_their_types(cli: Command, corpus: Path, url: str) -> None:
    settings = ["--setting", "datatype=float16", "--setting", "on_disk=true", "--setting", "timeout_s=30"]
    assert cli("ingest", corpus, "--store", url, *settings).code == 0
    kept = cli("doctor", "--store", url, "--json").json["store"]["info"]["settings"]
    assert (kept["datatype"], kept["on_disk"]) == ("float16", True)


@pytest.mark.parametrize(
    ("setting", "words"),
    [("datatype", ["NAME=VALUE"]), ("=3", ["NAME=VALUE"]), ("datatyp=float16", ["datatype"]), ("shards=muitos", ["shards", "muitos"])],
)
def test_bad_settings(cli: Command, corpus: Path, url: str, server: StandIn, setting: str, words: list[str]) -> None:
    assert_fails(cli("ingest", corpus, "--store", url, "--setting", setting), 2, *words)
    assert_fails(cli("ingest", corpus, "--store", url, "--setting", "shards=1", "--setting", "shards=2"), 2, "twice")
    assert names(server) == set()


@pytest.mark.filterwarnings("ignore:.*key.*:UserWarning")  # of a key over http
def test_credentials_come_from_the_environment_and_are_shown_nowhere(
    cli: Command, corpus: Path, url: str, server: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.api_key = SECRET
    assert_fails(cli("ingest", corpus, "--store", url), 5, "SPLADE_PTBR_QDRANT_API_KEY")
    monkeypatch.setenv("SPLADE_PTBR_QDRANT_API_KEY", SECRET)
    outcomes = [
        cli("ingest", corpus, "--store", url, "--json"),
        cli("--debug", "search", "gripe", "--store", url),
        cli("doctor", "--store", url),
        cli("verify", corpus, "--store", url),
        cli("--debug", "search", "x", "--store", url.replace("leis", "nada")),
    ]
    assert [outcome.code for outcome in outcomes] == [0, 0, 0, 0, 5]
    written = "".join(path.read_text() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert SECRET not in written + "".join(outcome.out + outcome.err for outcome in outcomes)
    with_user = url.replace("http://", f"http://user:{SECRET}@")
    refused = cli("search", "x", "--store", with_user)
    assert_fails(refused, 2, "SPLADE_PTBR_QDRANT_API_KEY")
    assert SECRET not in refused.err + refused.out


@pytest.mark.parametrize("command", ["ingest", "search", "verify", "adopt", "alias", "reindex"])
def test_help_says_where_credentials_belong(cli: Command, command: str) -> None:
    help_text = " ".join(cli(command, "--help").out.split())
    assert "from the environment alone" in help_text and "SPLADE_PTBR_QDRANT_API_KEY" in help_text


def test_an_interrupted_ingest_goes_on_from_its_checkpoint(cli: Command, url: str, server: StandIn, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "muitos.jsonl", documents(600))
    server.faults += [Fault(path="/points", delay_s=1.2), Fault(403, path="/points")]
    failed = cli("ingest", "muitos.jsonl", "--store", f"{url}?max_in_flight=1")
    assert failed.code == 5
    server.faults.clear()
    [line] = [line for line in failed.err.splitlines() if "checkpoint: " in line]
    checkpoint = Path(line.split("checkpoint: ")[1].split(" (")[0])
    assert json.loads(checkpoint.read_text())["position"] > 0 and tmp_path / "state" in checkpoint.parents
    resumed = cli("ingest", tmp_path / "muitos.jsonl", "--store", url, "--json").json  # by another name of the same file
    assert resumed["resumed_at"] > 0 and resumed["checkpoint"] == str(checkpoint)
    assert (resumed["read"], resumed["written"], resumed["documents"]) == (600, 600, 600)
    assert not checkpoint.exists() and not checkpoint.parent.exists()
    assert cli("verify", "muitos.jsonl", "--store", url).code == 0


def test_the_same_run_twice_at_once_is_refused_others_have_their_own_files(cli: Command, corpus: Path, url: str, tmp_path: Path) -> None:
    cli("ingest", corpus, "--store", url)
    from splade_ptbr_connectors.sources import open_source

    with open_store(url, encoder=HashingEncoder("mini")) as store, run_files.run_files(store, open_source(corpus)) as held:
        assert_fails(cli("ingest", corpus, "--store", url), 3, "another run", str(held.checkpoint.parent))
        assert cli("ingest", corpus, "--store", url, "--tenant", "a").code == 0
        other = write_jsonl(tmp_path / "outro.jsonl", documents(3))
        assert cli("ingest", other, "--store", url).code == 0
    assert cli("ingest", corpus, "--store", url).code == 0


def test_a_state_folder_that_cannot_be_made_is_named(cli: Command, corpus: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLADE_PTBR_STATE", str(corpus))
    assert_fails(cli("ingest", corpus, "--store", url), 3, "SPLADE_PTBR_STATE", str(corpus))
    assert cli("ingest", corpus, "--store", url, "--checkpoint", "c.json", "--dead-letter", "d.jsonl").code == 0


def test_ready_vectors_are_loaded_without_the_network_of_the_model(cli: Command, corpus: Path, url: str, tmp_path: Path) -> None:
    assert cli("encode", corpus, "vetores.jsonl", "--with-record").code == 0
    report = cli("ingest", "vetores.jsonl", "--store", url, "--json").json
    assert report["written"] == 4 and report["encoding"]["texts"] == 0
    hits = cli("search", "gripe e febre", "--store", url, "--json").json["hits"]
    assert hits[0]["doc_id"] == "4"
    assert hits[0]["text"] == "gripe e febre" and hits[0]["payload"] == {"metadata": {"subject": "saúde"}}


# -- verify ------------------------------------------------------------------------------------------------------------


def test_verify_names_what_is_missing_extra_and_changed(cli: Command, corpus: Path, url: str, tmp_path: Path) -> None:
    cli("ingest", corpus, "--store", url)
    same = cli("verify", corpus, "--store", url, "--json")
    assert same.code == 0 and same.json["ok"] and same.json["documents"] == 4
    assert "no differences" in cli("verify", corpus, "--store", url).out
    other = [json.loads(line) for line in corpus.read_text().splitlines()]
    other[0]["text"] = "outra coisa"
    write_jsonl(tmp_path / "outro.jsonl", [*other[:3], {"_id": "9", "text": "novo"}])
    outcome = cli("verify", "outro.jsonl", "--store", url, "--json")
    found = outcome.json
    assert outcome.code == 8 and not found["ok"]
    assert {name: found[name]["first"] for name in ("missing", "extra", "changed")} == {"missing": ["9"], "extra": ["4"], "changed": ["1"]}
    text = cli("verify", "outro.jsonl", "--store", url).out
    assert all(word in text for word in ("missing", "extra", "changed", "9"))


def test_verify_by_another_model_finds_every_document_of_the_wrong_one(cli: Command, corpus: Path, filled: str) -> None:
    outcome = cli("verify", corpus, "--store", filled, "--model", "outro", "--json")
    assert outcome.code == 8 and outcome.json["wrong_model"]["count"] == 4


# -- adopt, doctor -----------------------------------------------------------------------------------------------------


def strange_collection(server: StandIn) -> None:
    """One that somebody made without this package."""
    server.client.create_collection("leis", vectors_config={}, sparse_vectors_config={"splade": models.SparseVectorParams()})


def test_adopt_describes_a_collection_that_has_no_description(cli: Command, url: str, server: StandIn) -> None:
    strange_collection(server)
    before = cli("doctor", "--store", url, "--json")
    assert before.code == 2 and "adopt" in before.json["store"]["problems"][0]
    assert cli("adopt", "--store", url, "--model", "mini", "--json").json["changed"] is True
    assert cli("adopt", "--store", url, "--model", "mini", "--json").json["changed"] is False
    after = cli("doctor", "--store", url, "--json")
    assert after.code == 0 and after.json["store"]["problems"] == [] and after.json["store"]["model"] == "mini"
    assert_fails(cli("adopt", "--store", url, "--model", "outro"), 4, "'mini'", "'outro'")


def test_adopt_refuses_what_is_not_there_and_what_is_no_server(cli: Command, url: str, filled: str, server: StandIn) -> None:
    assert_fails(cli("adopt", "--store", url, "--model", "mini"), 5, "no store")
    assert_fails(cli("adopt", "--store", filled, "--model", "mini"), 2, "not a server store")
    assert names(server) == set()


def test_doctor_says_what_the_server_is(cli: Command, corpus: Path, url: str, server: StandIn) -> None:
    cli("ingest", corpus, "--store", url)
    found = cli("doctor", "--store", url, "--json").json["store"]
    assert found["info"]["version"] == server.version and found["documents"] == 4
    text = cli("doctor", "--store", url).out
    assert f"version: {server.version}" in text and "settings.datatype: float32" in text


# -- alias, reindex ----------------------------------------------------------------------------------------------------


def test_an_alias_is_made_shown_and_moved(cli: Command, corpus: Path, url: str) -> None:
    other = url.replace("leis", "leis-2")
    alias = url.replace("leis", "atual")
    for store in (url, other):
        cli("ingest", corpus, "--store", store)
    assert_fails(cli("alias", "--store", alias), 5, "atual")
    assert cli("alias", "--store", alias, "--to", "leis", "--json").json == {
        "alias": "atual",
        "collection": "leis",
        "previous": None,
        "is_alias": True,
    }
    assert cli("alias", "--store", alias, "--to", "leis-2", "--json").json["previous"] == "leis"
    assert cli("alias", "--store", alias).out == "atual points to leis-2\n"
    assert cli("alias", "--store", url).out == "leis is a collection, not an alias\n"
    assert_fails(cli("alias", "--store", url, "--to", "leis-2"), 2, "leis")
    assert_fails(cli("alias", "--store", alias, "--to", "nada"), 5, "nada")
    assert cli("alias", "--store", alias, "--json").json["collection"] == "leis-2"


def test_reindex_under_an_alias_while_searches_go_on(cli: Command, url: str, server: StandIn, tmp_path: Path) -> None:
    old, new = documents(120), documents(150, start=60)
    write_jsonl(tmp_path / "velho.jsonl", old)
    write_jsonl(tmp_path / "novo.jsonl", new)
    first = cli("reindex", "velho.jsonl", "--store", url, "--json").json
    assert first["moved"] and first["previous"] is None and first["collection"].startswith("leis-")
    counts: list[int] = []
    failures: list[BaseException] = []
    begun, stop = threading.Event(), threading.Event()

    def search() -> None:
        try:
            with open_store(url, encoder=HashingEncoder("mini"), create=False) as store:
                while not stop.is_set():
                    assert store.search("documento", 10_000)
                    counts.append(store.count())
                    begun.set()
        except BaseException as error:
            failures.append(error)
            begun.set()

    searcher = threading.Thread(target=search)
    searcher.start()
    begun.wait()
    second = cli("reindex", "novo.jsonl", "--store", url, "--json")
    stop.set()
    searcher.join()
    assert failures == [] and set(counts) <= {120, 150} and counts == sorted(counts) and counts[0] == 120
    report = second.json
    assert report["moved"] and report["previous"] == first["collection"] and report["verified"]["ok"]
    assert report["to_delete"] == f"curl -X DELETE {server.url}/collections/{first['collection']}"
    assert names(server) == {first["collection"], report["collection"]}
    assert cli("verify", "novo.jsonl", "--store", url).code == 0
    assert list((tmp_path / "state").iterdir()) == []


def test_a_stopped_reindex_goes_on_with_its_collection_and_the_alias_waits(cli: Command, url: str, server: StandIn, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "c.jsonl", documents(600))
    server.faults += [Fault(403, path="/points")]
    assert cli("reindex", "c.jsonl", "--store", url).code == 5
    server.faults.clear()
    [unfinished] = names(server)
    assert_fails(cli("alias", "--store", url), 5)
    report = cli("reindex", "c.jsonl", "--store", url, "--json").json
    assert report["collection"] == unfinished and report["moved"]
    assert names(server) == {unfinished}


def test_restart_leaves_the_unfinished_collection_and_begins_another(cli: Command, url: str, server: StandIn, corpus: Path) -> None:
    server.faults += [Fault(403, path="/points")]
    assert cli("reindex", corpus, "--store", url).code == 5
    server.faults.clear()
    [unfinished] = names(server)
    report = cli("reindex", corpus, "--store", url, "--restart", "--json").json
    assert report["collection"] != unfinished and report["moved"] and names(server) == {unfinished, report["collection"]}


def test_an_unfinished_collection_that_was_deleted_is_begun_anew(cli: Command, url: str, server: StandIn, corpus: Path) -> None:
    server.faults += [Fault(403, path="/points")]
    assert cli("reindex", corpus, "--store", url).code == 5
    server.faults.clear()
    server.client.delete_collection(names(server).pop())
    assert cli("reindex", corpus, "--store", url, "--json").json["moved"]


def test_rejected_records_keep_the_alias_where_it_was_unless_allowed(cli: Command, url: str, server: StandIn, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "bom.jsonl", documents(3))
    first = cli("reindex", "bom.jsonl", "--store", url, "--json").json["collection"]
    write_jsonl(tmp_path / "ruim.jsonl", [*documents(5), {"_id": "sem texto"}, {"_id": "longo", "text": "a " * 60}])
    outcome = cli("reindex", "ruim.jsonl", "--store", url, "--on-long", "error", "--json")
    assert outcome.code in (7, 8) and not outcome.json["moved"]
    assert outcome.json["ingest"]["rejected"] == 2
    assert cli("alias", "--store", url, "--json").json["collection"] == first
    allowed = cli("reindex", "ruim.jsonl", "--store", url, "--on-long", "error", "--allow-rejected", "--json").json
    assert allowed["moved"] and allowed["collection"] == outcome.json["collection"] and allowed["previous"] == first


def test_another_model_takes_over_with_the_alias(cli: Command, url: str, corpus: Path) -> None:
    cli("reindex", corpus, "--store", url)
    assert cli("reindex", corpus, "--store", url, "--model", "outro", "--json").json["moved"]
    assert cli("search", "gripe", "--store", url, "--json").json["model"] == "outro"


def test_what_cannot_be_reindexed(cli: Command, url: str, corpus: Path, filled: str, server: StandIn) -> None:
    cli("ingest", corpus, "--store", url)
    assert_fails(cli("reindex", corpus, "--store", url), 2, "not an alias")
    assert_fails(cli("reindex", corpus, "--store", filled), 2, "no aliases")
    for embedded in ("edge:folder/none", "numba:folder/none"):  # not there yet: refused before anything is filled
        assert_fails(cli("reindex", corpus, "--store", embedded), 2, "no aliases")
    assert not Path("folder").exists()
    assert_fails(cli("reindex", "-", "--store", url), 2, "stdin")
    assert names(server) == {"leis"}


def test_a_move_that_fails_leaves_the_alias_and_can_be_repeated(
    cli: Command, url: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cli("reindex", corpus, "--store", url, "--json").json["collection"]
    whole = reindexing.on_server

    class Broken:
        def __init__(self, store: object) -> None:
            self.collection = whole(store).collection  # type: ignore[arg-type]

        def point_alias(self, alias: str) -> str:
            raise StoreError("the server went away.")

    monkeypatch.setattr(reindexing, "on_server", Broken)
    assert_fails(cli("reindex", corpus, "--store", url), 5, "went away")
    monkeypatch.undo()
    monkeypatch.setenv("SPLADE_PTBR_STATE", "state")
    assert cli("alias", "--store", url, "--json").json["collection"] == first


@pytest.mark.slow
def test_a_command_that_was_killed_goes_on_when_it_is_run_again(url: str, server: StandIn, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "c.jsonl", documents(4000))
    command = [sys.executable, "-m", "splade_ptbr_connectors", "ingest", "c.jsonl", "--store", url, "--json"]
    environment = {**os.environ, "SPLADE_PTBR_STATE": "state", "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        while killed.poll() is None and not saved_positions(tmp_path / "state"):
            time.sleep(0.05)
        killed.kill()
    [position] = saved_positions(tmp_path / "state")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["resumed_at"] >= position > 0
    assert (report["read"], report["documents"], report["written"] + report["unchanged"]) == (4000, 4000, 4000)
    assert saved_positions(tmp_path / "state") == []


def saved_positions(state: Path) -> list[int]:
    """How far the checkpoints in a state folder are, those that are at their beginning left out."""
    return [found for path in state.glob("*/ingest-checkpoint.json") if (found := json.loads(path.read_bytes())["position"])]
