"""Messages of the package, which speak Python, name the options of the command that shows them."""

from __future__ import annotations

import ast
import json
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import splade_ptbr_connectors
from splade_ptbr_connectors.cli.console import PACKAGE, speak_as, warnings_to_stderr
from splade_ptbr_connectors.cli.main import app
from splade_ptbr_connectors.cli.messages import LOADER, OTHER_NAMES, PYTHON_ONLY, Wording
from splade_ptbr_connectors.ingestion.checkpoint import FORMAT
from splade_ptbr_connectors.stores.edge.settings import EdgeSettings
from splade_ptbr_connectors.stores.opensearch.settings import OpenSearchSettings
from splade_ptbr_connectors.stores.qdrant.settings import QdrantSettings

from .conftest import Command, assert_fails

GROUP = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)  # type: ignore[attr-defined]
SAME_IN_THE_SHELL = {
    "top_k", "threshold", "quantile",  # rules of --prune
    "name", "value", "file", "folder",  # "name=value" and the like
    *EdgeSettings.model_fields, *QdrantSettings.model_fields, *OpenSearchSettings.model_fields,  # --setting NAME=VALUE
}  # fmt: skip
NOT_IN_MESSAGES = {
    "pattern",
    "behavior",
    "invert",
    "fingerprint",
    "normalizers",
    "content",
    "strip_left",
    "strip_right",
    "prepend_scheme",
    "split",
}  # of a tokenizer, of repr()
NOT_OF_A_COMMAND = {"queries_from", "format", "filters", "page_content"}  # the benchmarks' own; of Python; LlamaIndex's; LangChain's
KEYWORD = re.compile(r"(?<![\w.?&{])([a-z_]+)=(?!=)")


def wording(command: str) -> Wording:
    return Wording.of("splade-ptbr", GROUP, [command])


def messages() -> Iterator[str]:
    """Every text of the package that has a keyword in it, but docstrings."""
    root = Path(splade_ptbr_connectors.__file__).parent
    for path in root.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements and " " in node.value:
                if KEYWORD.search(node.value) and "cli" not in path.relative_to(root).parts[:1]:
                    yield node.value


def test_every_keyword_in_a_message_is_known() -> None:
    options = {name.replace("-", "_") for command in COMMANDS for name in re.findall(r"--([a-z-]+)", help_of(command))}
    known = {*options, *OTHER_NAMES, *PYTHON_ONLY, *LOADER, *SAME_IN_THE_SHELL, *NOT_IN_MESSAGES, *NOT_OF_A_COMMAND}
    found = list(messages())
    assert len(found) > 20
    assert not {name for text in found for name in KEYWORD.findall(text)} - known


def help_of(command: str) -> str:
    called = GROUP.commands[command]  # type: ignore[attr-defined]
    return " ".join(option for parameter in called.params for option in parameter.opts)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_spoken(command: str) -> None:
    say, options = wording(command), set(re.findall(r"--([a-z-]+)", help_of(command)))
    for option in options:
        name = option.replace("-", "_")
        assert say(f"no; pass {name}=True.") == f"no; pass --{option}."
        assert say(f"use {name}='a b', or leave it.") == f"use --{option} 'a b', or leave it."
        assert say(f'use {name}="mini".') == f"use --{option} mini."
        assert say(f"the argument {name} is 0: it must be 1.") == say(f"{name} is 0: it must be 1.") == f"--{option} is 0: it must be 1."
    for name in {*LOADER, *PYTHON_ONLY} - {option.replace("-", "_") for option in options}:
        assert say(f"use {name}='x'.") == f"use {name}='x' in Python."


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "text",
    [
        "datatype='float16', but is opened with datatype='int8'",
        "top_k=N, threshold=WEIGHT",
        'line 3: {"a": "b=True"}',
        "x = 'y'",
        "?a=True",
    ],
)
def test_what_is_no_argument_stays(command: str, text: str) -> None:
    assert wording(command)(text) == text


def test_names_of_other_things() -> None:
    say = wording("ingest")
    assert say("opened with passages={'passage_tokens': 40, 'overlap': 8}: no") == (
        "opened with --passages passage_tokens=40 --passages overlap=8: no"
    )
    assert say("opened with passages=False: no") == "opened with --passages off: no"
    assert (
        say('such as encoder="mini"; settings={...}; dead_letter=FILE') == "such as --model mini; --setting NAME=VALUE; --dead-letter FILE"
    )
    assert say("if so, adopt() writes it down; get() and store.verify() do not.") == (
        "if so, splade-ptbr adopt writes it down; get() and store.verify() do not."
    )


def test_errors_of_commands_name_their_options(cli: Command, filled: str) -> None:
    assert_fails(
        cli("ingest", "corpus.jsonl", "--store", filled, "--passages", "off"), 5, "opened with --passages off:", "passage_tokens=200"
    )
    assert_fails(cli("search", "x", "--store", filled, "--model", "outro"), 4, "allow_mismatch=True in Python")
    assert_fails(cli("search", "x", "--store", filled, "--top-k", 0), 2, "--top-k is 0")
    outcome = cli("ingest", "corpus.jsonl", "--store", filled, "--passages", "off", "--json")
    assert "--passages off" in outcome.json["error"]["message"]
    for several in (["off", "overlap=3"], ["overlap=3", "off"]):
        given = [part for value in several for part in ("--passages", value)]
        assert_fails(cli("ingest", "corpus.jsonl", "--store", "edge:nova", *given), 2, "--passages off", "alone")
    assert_fails(cli("ingest", "corpus.jsonl", "--store", "edge:nova", "--passages", "Off"), 2, "passage_tokens=200, or off")


def test_a_damaged_checkpoint_names_restart(cli: Command, filled: str) -> None:
    Path("c.json").write_text(json.dumps({"format": FORMAT}))
    assert_fails(cli("ingest", "corpus.jsonl", "--store", filled, "--checkpoint", "c.json"), 3, "damaged", "pass --restart to start over")


def test_warnings_and_logs_too(cli: Command, capsys: pytest.CaptureFixture[str]) -> None:
    cli("doctor")
    speak_as(wording("ingest"))
    with warnings.catch_warnings():
        warnings_to_stderr()
        warnings.simplefilter("always")
        warnings.warn("if so, adopt() writes it down.", stacklevel=1)
    logging.getLogger(PACKAGE).warning("dead_letter=FILE keeps %s of them", "all")
    err = capsys.readouterr().err
    assert "splade-ptbr adopt writes it down" in err and "--dead-letter FILE keeps all of them" in err
