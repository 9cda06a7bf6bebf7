"""Models that a user names as module:attribute: an embedding model, a cross-encoder."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from splade_ptbr_connectors.errors import ConfigError


def load_model(models: Mapping[str, str], name: str, methods: tuple[str, ...]) -> Any:
    """The object that `models` has under this name, or what a function of that name returns when called without arguments.

    Args:
        methods: it must have one of them.

    Raises:
        ConfigError: no such entry, module or attribute, or an object without these methods.
    """
    path = models.get(name)
    if path is None:
        raise ConfigError(f"no model is given as {name!r}: name one as --{name} MODULE:ATTRIBUTE, with {' or '.join(methods)}().")
    found = _attribute(name, path)
    if callable(found) and (isinstance(found, type) or not _has(found, methods)):
        found = found()
    if not _has(found, methods):
        raise ConfigError(f"the model {name}={path} is a {type(found).__name__} without {' or '.join(methods)}(): name another object.")
    return found


def _attribute(name: str, path: str) -> Any:
    module, colon, attribute = path.partition(":")
    if not colon or not module or not attribute:
        raise ConfigError(f"the model {name}={path!r} is not of the form MODULE:ATTRIBUTE, such as mymodels:embeddings.")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise ConfigError(f"the model {name}={path}: there is no module {module!r}; it must be on the Python path.") from error
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise ConfigError(f"the model {name}={path}: {module!r} has no {attribute!r}.") from error
    return found


def _has(found: object, methods: tuple[str, ...]) -> bool:
    return any(callable(getattr(found, method, None)) for method in methods)
