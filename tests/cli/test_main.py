"""The command line as a whole: help, errors, exit codes, what goes to stdout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import splade_ptbr_connectors.errors as errors_module
from splade_ptbr_connectors import __version__
from splade_ptbr_connectors.cli import exit_codes, search
from splade_ptbr_connectors.cli.exit_codes import MEANING, ExitCode, exit_code_of
from splade_ptbr_connectors.errors import (
    ConfigError,
    IngestError,
    InputError,
    MissingExtraError,
    ModelError,
    SpladeConnectorsError,
    StoreError,
    StoreRefusedError,
)

from .conftest import Command, assert_fails

COMMANDS = ("demo", "encode", "ingest", "search", "evaluate", "verify", "delete", "adopt", "alias", "reindex", "doctor", "export onnx")


MORE_ARGUMENTS: dict[type[Exception], tuple[object, ...]] = {MissingExtraError: ("torch",), StoreRefusedError: ([],)}


def all_errors() -> list[type[SpladeConnectorsError]]:
    return [kind for kind in vars(errors_module).values() if isinstance(kind, type) and issubclass(kind, SpladeConnectorsError)]


def test_every_error_has_an_exit_code_of_its_family() -> None:
    families = {ConfigError: 2, InputError: 3, IngestError: 3, ModelError: 4, StoreError: 5, MissingExtraError: 6}
    for kind in all_errors():
        error = kind("x", *MORE_ARGUMENTS.get(kind, ()))
        expected = next((code for family, code in families.items() if issubclass(kind, family)), 1)
        assert exit_code_of(error) == expected, kind
    assert len(all_errors()) > 15


def test_every_exit_code_is_explained() -> None:
    assert set(MEANING) == set(ExitCode)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_exit_codes_and_json(cli: Command, command: str) -> None:
    outcome = cli(*command.split(), "--help")
    text = " ".join(outcome.out.split())
    assert outcome.code == 0
    assert "--json" in text
    assert all(f"{code.value} {meaning}" in text for code, meaning in MEANING.items())


def test_version(cli: Command) -> None:
    assert cli("--version").out == f"splade-ptbr {__version__}\n"


def test_no_arguments_show_the_help(cli: Command) -> None:
    outcome = cli()
    assert outcome.code == 2 and "Usage" in outcome.out and outcome.err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serch", "x"], ["'search'"]),
        (["search"], ["QUERY"]),
        (["search", "x"], ["--store"]),
        (["search", "x", "--store", "edge:x", "--tamanho", "3"], ["--tamanho"]),
        (["ingest", "x", "--store", "edge:x", "--on-long", "cortar"], ["cortar"]),
        (["--debg"], ["--debg"]),
    ],
)
def test_wrong_usage_is_exit_code_2_and_one_line(cli: Command, arguments: list[str], words: list[str]) -> None:
    assert_fails(cli(*arguments), 2, *words)


@pytest.mark.parametrize("arguments", [["search"], ["search", "x", "--store", "edge:nada"], ["search", "x", "--store", "x"]])
def test_under_json_an_error_is_one_json_document_too(cli: Command, arguments: list[str]) -> None:
    plain, as_json = cli(*arguments), cli(*arguments, "--json")
    assert plain.out == ""
    assert as_json.code == plain.code != 0
    assert as_json.err == plain.err
    assert as_json.json["error"]["type"].isidentifier()
    assert f"splade-ptbr: error: {as_json.json['error']['message']}\n" == plain.err


def test_an_unexpected_error_is_exit_code_1_without_a_traceback(cli: Command, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("caiu\nde vez")

    monkeypatch.setattr(search, "add_words", broken)
    assert_fails(cli("search", "gripe", "--store", filled, "--explain"), 1, "RuntimeError: caiu de vez", "--debug")
    debugged = cli("--debug", "search", "gripe", "--store", filled, "--explain")
    assert debugged.code == 1 and "Traceback" in debugged.err


def test_ctrl_c_is_exit_code_130(cli: Command, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "add_words", interrupted)
    assert_fails(cli("search", "gripe", "--store", filled, "--explain"), 130, "interrupted: run the same command again")
    assert cli("search", "gripe", "--store", filled, "--explain", "--json").json["error"]["type"] == "Interrupted"


def test_ctrl_c_while_an_extension_module_is_imported_is_no_other_error(cli: Command, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.setattr(search, "add_words", interrupted)
    assert_fails(cli("search", "gripe", "--store", filled, "--explain"), 130, "interrupted: run the same command again")


def test_what_libraries_print_stays_off_stdout_under_json(cli: Command, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "add_words", lambda *_: sys.stdout.write("tagarela"))
    outcome = cli("search", "gripe", "--store", filled, "--explain", "--json")
    assert len(outcome.json["hits"]) == 2
    assert "tagarela" in outcome.err


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "splade_ptbr_connectors", "search", "x", "--store", "edge:não-existe", "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 5
    assert json.loads(done.stdout)["error"]["type"] == "StoreNotFoundError"


def test_help_imports_nothing_heavy() -> None:
    heavy = ["numpy", "onnxruntime", "torch", "transformers", "qdrant_edge", "langchain_core", "ir_measures", "bm25s", "tokenizers"]
    code = f"""
import sys
from splade_ptbr_connectors.cli.main import run
code = run(["--help"])
loaded = [name for name in {heavy!r} if name in sys.modules]
sys.exit(f"loaded {{loaded}}" if loaded or code else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    done = subprocess.run(f"{sys.executable} -m splade_ptbr_connectors --help | true", shell=True, capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="the system has no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "splade_ptbr_connectors", "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert done.stderr == "splade-ptbr: error: the output cannot be written: No space left on device.\n"


def test_a_file_name_that_is_no_text_breaks_no_message(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "splade_ptbr_connectors", "encode", b"nada-\xff.jsonl", "out.jsonl", "--json"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path)
    assert done.returncode == 3
    assert "nada-\udcff.jsonl" in json.loads(done.stdout)["error"]["message"]


def test_the_table_of_exit_codes_is_in_the_general_help(cli: Command) -> None:
    assert " ".join(exit_codes.HELP.split()) in " ".join(cli("--help").out.split())
