"""splade-ptbr doctor."""

from __future__ import annotations

from importlib import metadata

import pytest

from splade_ptbr_connectors.cli import doctor
from splade_ptbr_connectors.cli.doctor import BASE
from splade_ptbr_connectors.encoding import folder

from .conftest import Command


def test_it_lists_what_the_package_declares_by_extra(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "numpy>=1.26",
        "typer",
        'torch>=2.4; extra == "torch"',
        "scipy; python_version > '3' and extra == 'evaluation'",
        'splade-ptbr-connectors[torch]; extra == "all"',
    ]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: lines)
    found = [(one["name"], one["extra"]) for one in cli("doctor", "--json").json["libraries"]]
    assert found == [("numpy", BASE), ("typer", BASE), ("torch", "torch"), ("scipy", "evaluation")]


def test_the_real_declaration_has_base_and_extras(cli: Command) -> None:
    found = {(one["name"], one["extra"]) for one in cli("doctor", "--json").json["libraries"]}
    assert {("numpy", BASE), ("torch", "torch"), ("langchain-core", "langchain"), ("qdrant-client", "qdrant")} <= found


def test_installed_and_missing_libraries(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "torch":
            raise metadata.PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(doctor.metadata, "version", version)
    document = cli("doctor", "--json").json
    assert document["missing_extras"] == ["torch"]
    assert document["runtimes"] == {"onnx": True, "torch": False}
    text = cli("doctor").out
    assert 'pip install "splade-ptbr-connectors[torch]"' in text and "1.2.3" in text


def test_a_store_is_checked(cli: Command, filled: str) -> None:
    found = cli("doctor", "--store", filled, "--json").json["store"]
    assert (found["name"], found["engine"], found["documents"], found["model"]) == (filled, "edge", 4, "mini")
    assert found["info"]["engine"] == "edge" and found["problems"] == []
    text = cli("doctor", "--store", filled).out
    assert "4 documents" in text and "passages.passage_tokens: 200" in text


def test_a_broken_store_is_a_finding_beside_the_others(cli: Command) -> None:
    outcome = cli("doctor", "--store", "edge:nada", "--json")
    assert outcome.code == 5
    assert "no store at edge:nada" in outcome.json["store"]["error"]
    assert outcome.json["libraries"]


def test_a_broken_model_is_a_finding(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "shipped_models", lambda: ["no-such-model"])
    outcome = cli("doctor", "--json")
    assert outcome.code == 4 and "no-such-model" in outcome.json["models"][0]["error"]
    assert "no-such-model" in cli("doctor").out


@pytest.mark.parametrize("arguments", [("doctor", "--json"), ("doctor",), ("search", "x", "--json"), ("search", "x")])
@pytest.mark.parametrize(
    "url", ["qdrant+http//user:hunter2@host/c", "qdrant+http://user%3Ahunter2%40host/c", "qdrant+http://u:hunter2@host/c"]
)
def test_a_login_in_a_url_is_printed_by_no_command(cli: Command, arguments: tuple[str, ...], url: str) -> None:
    result = cli(*arguments, "--store", url)
    assert "hunter2" not in result.out + result.err
    assert "credentials" in result.out + result.err or "colon" in result.out + result.err
