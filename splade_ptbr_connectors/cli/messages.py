"""Messages of the package, which speak Python, in the words of the command that shows them: its options for arguments."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

OTHER_NAMES = {"encoder": "model", "settings": "setting", "k": "top_k"}  # of an argument in Python: as the options have it
PYTHON_ONLY = ("allow_mismatch", "dtype", "rrf_k", "tokenizer", "vectors")  # arguments that no command has
LOADER = ("runtime", "on_long", "device", "batch_size")  # arguments that a command may do without
QUOTES = "'\""
_VALUE = r"""True|False|None|'[^']*'|"[^"]*"|\{[^{}]*\}|\.\.\.|[A-Z]{2,}\b"""
_ARGUMENT = re.compile(rf"(?<![\w.=])([a-z_]+)=({_VALUE})(?: in Python\b)?")
_SUBJECT = re.compile(r"(?:\bthe argument |^)([a-z_]+) is (?=\S)")
_FUNCTION = re.compile(r"(?<![\w.])([a-z_]+)\(\)")


class Wording:
    """How one command says things.

    Args:
        options: its options by the name of the argument that each sets.
        commands: by name, what runs the function of that name.
    """

    def __init__(self, options: Mapping[str, str] | None = None, commands: Mapping[str, str] | None = None) -> None:
        self._options = options or {}
        self._commands = commands or {}

    @classmethod
    def of(cls, program: str, group: Any, arguments: Sequence[str]) -> Wording:
        """Of the command that these arguments call; `group` is the application's click group."""
        called = next((group.commands[each] for each in arguments if each in group.commands), None)
        options = dict(_options(called)) if called is not None else {}
        return cls(options, {name: f"{program} {name}" for name in group.commands})

    def __call__(self, message: str) -> str:
        """The message, arguments that the command has as its options; others, unless they are not advice, with "in Python"."""
        message = _ARGUMENT.sub(self._argument, message)
        message = _SUBJECT.sub(lambda found: f"{self._options[found[1]]} is " if found[1] in self._options else found[0], message)
        return _FUNCTION.sub(lambda found: self._commands.get(found[1], found[0]), message)

    def _argument(self, found: re.Match[str]) -> str:
        name, value = found.groups()
        option = self._options.get(OTHER_NAMES.get(name, name))
        if option is not None:
            return _as_option(option, value)
        known = name in (*PYTHON_ONLY, *LOADER, *OTHER_NAMES)
        return f"{name}={value} in Python" if known else found[0]


def _options(command: Any) -> Iterator[tuple[str, str]]:
    """Argument and option of a command, or of all commands of a group."""
    for each in getattr(command, "commands", {}).values():
        yield from _options(each)
    for parameter in command.params:
        for option in parameter.opts:
            if option.startswith("--"):
                yield parameter.name, option
                yield option.removeprefix("--").replace("-", "_"), option


def _as_option(option: str, value: str) -> str:
    if value == "True":
        return option
    if value == "False":
        return f"{option} off"
    if value.startswith("{") and value != "{...}":
        return " ".join(f"{option} {shlex.quote(f'{name}={each}')}" for name, each in ast.literal_eval(value).items())
    if value == "{...}":
        return f"{option} NAME=VALUE"
    return f"{option} {shlex.quote(value[1:-1]) if value[0] in QUOTES else value}"
