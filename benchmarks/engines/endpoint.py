"""An embedding model behind OpenAI's /embeddings, or behind a server that speaks the same protocol, with LangChain's two methods."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import openai

from splade_ptbr_connectors.errors import ConfigError, ModelError, ModelFormatError, SpladeConnectorsError
from splade_ptbr_connectors.stores.address import without_login

KEY = "OPENAI_API_KEY"
RETRIES = 5  # by the client, with pauses in between: of requests that met no server, a busy one, or a broken one
TIMEOUT_S = 120.0
REASON = 300  # characters of a server's own words that a message repeats


class Endpoint:
    """Texts are sent as they are: a model that wants prefixes needs a server that puts them in front.

    Args:
        url: what "/embeddings" is put behind, such as https://api.openai.com/v1.
        model: its name there.
        for_queries: its name there for queries, where it has another one.

    Raises:
        ConfigError: not such an address, or no key in OPENAI_API_KEY.
    """

    def __init__(self, url: str, model: str, for_queries: str) -> None:
        check_address(url)
        key = os.environ.get(KEY)
        if not key:
            raise ConfigError(f"the endpoint {url} is asked with a key: set {KEY}, to any text where the server wants none.")
        self._url, self._model, self._for_queries = url, model, for_queries
        self._client = openai.OpenAI(api_key=key, base_url=url, max_retries=RETRIES, timeout=TIMEOUT_S)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text, in order. Raises ConfigError, ModelError or ModelFormatError."""
        return self._embed(texts, self._model)

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query. Raises the same."""
        return self._embed([text], self._for_queries)[0]

    def _embed(self, texts: list[str], model: str) -> list[list[float]]:
        try:
            answer: Any = self._client.embeddings.create(model=model, input=texts, encoding_format="float")
        except openai.APIError as error:
            raise self._failure(error, model) from error
        except ValueError as error:
            raise ModelFormatError(f"the endpoint {self._url} did not answer in JSON ({error}): check the address.") from error
        found = {getattr(each, "index", None): each.embedding for each in getattr(answer, "data", None) or ()}
        if set(found) != set(range(len(texts))):
            raise ModelFormatError(
                f"the endpoint {self._url} gave {len(found)} numbered vectors for {len(texts)} texts: it must give one for each, as OpenAI "
                "does; check the address."
            )
        return [found[row] for row in range(len(texts))]

    def _failure(self, error: openai.APIError, model: str) -> SpladeConnectorsError:
        """What the client gave up on."""
        status, reason = getattr(error, "status_code", None), " ".join(str(error.__cause__ or error).split()).rstrip(".")[:REASON]
        if status is None:
            return ModelError(f"the endpoint {self._url} cannot be reached ({reason}): check the address, and that its server runs.")
        if status in (401, 403):
            return ConfigError(f"the endpoint {self._url} does not accept the key ({reason}): set {KEY} to one that may use {model!r}.")
        if status == 404:
            return ConfigError(
                f"the endpoint {self._url} has no model {model!r}, or no /embeddings ({reason}): check --dense-model and the address."
            )
        return ModelError(
            f"the endpoint {self._url} did not embed texts with {model!r} ({reason}): run again later, or with a smaller batch."
        )


def check_address(url: str) -> None:
    """Raise ConfigError for anything but http(s)://HOST/PATH. A report shows the address: nothing secret may be in it."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None and not parts.query
    except ValueError:
        fine = False
    if not fine:
        raise ConfigError(
            f"the endpoint is {without_login(url)!r}: it must be of the form http(s)://HOST/PATH, such as https://api.openai.com/v1; a key "
            f"belongs into {KEY}."
        )
