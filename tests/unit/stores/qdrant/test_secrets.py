"""An API key is in the header of each request and nowhere else; certificates are checked."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.credentials import Credentials, InsecureConnectionWarning
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.certificates import make_certificate
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import Fault, StandIn, stand_in
from tests.support.told import told
from tests.unit.stores.qdrant.conftest import Open

KEY = "hunter2-4f1c"
ENTRY = ("a", SparseVector([1], [1.0]), {"n": 1})


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 307, 0])
@pytest.mark.filterwarnings("default::splade_ptbr_connectors.stores.credentials.InsecureConnectionWarning")
def test_the_key_shows_nowhere(opening: Open, server: StandIn, status: int, caplog: pytest.LogCaptureFixture) -> None:
    server.api_key = KEY
    shown: list[str] = []
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        store = opening(query="?load_deadline_s=0.1", credentials=Credentials(api_key=SecretStr(KEY)))
        server.faults = [Fault(status) if status else Fault(reset=True) for _ in range(10_000)]
        try:
            store.load([ENTRY])
        except errors.StoreError as error:
            shown += [str(error), repr(error), repr(error.__cause__), str(error.__cause__)]
        server.faults = []
        shown += [
            repr(store),
            str(store),
            json.dumps(store.info()),
            repr(store._connection),
            repr(store._operations),
            store.url,
            store.identity,
        ]
        shown += [repr(value) for value in vars(store).values()]
    shown += [caplog.text, *(str(warning.message) for warning in caught)]
    assert not any(KEY in text for text in shown)
    assert all(seen.headers["api-key"] == KEY and KEY not in seen.path and KEY.encode() not in seen.body for seen in server.seen)


ECHOES = [
    f'{{"status":{{"error":"no such key: {KEY}"}}}}',
    f'{{"status":{{"error":"{"x" * 280} {KEY}"}}}}',  # a message is cut within it
    f"you sent api-key: {KEY}",
    f"{'x' * 190} {KEY}",
]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500, 503])
@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.filterwarnings("ignore::splade_ptbr_connectors.stores.credentials.InsecureConnectionWarning")
def test_a_server_that_repeats_the_key_brings_it_into_no_error_and_no_refusal(
    opening: Open, server: StandIn, status: int, echo: str, caplog: pytest.LogCaptureFixture
) -> None:
    how: dict[str, Any] = {"query": "?deadline_s=0.05&load_deadline_s=0.05", "credentials": Credentials(api_key=SecretStr(KEY))}
    store = opening(**how)

    async def search() -> object:
        try:
            return await store.asearch(ENTRY[1])
        finally:
            await store._connection.async_client().close()

    for use in (lambda: store.load([ENTRY]), store.count, lambda: asyncio.run(search()), lambda: opening(**how)):
        server.faults = [Fault(status, body=echo.encode()) for _ in range(100)]
        with caplog.at_level(logging.INFO):
            try:
                result: object = use()
            except errors.StoreError as error:
                result = told(error)
        assert result, "neither an error nor a refusal"
        assert KEY[:8] not in repr(result)
    assert KEY[:8] not in caplog.text


def test_credentials_in_the_url_are_refused_and_not_repeated() -> None:
    for url in (f"qdrant+https://user:{KEY}@host/laws", f"qdrant+https://{KEY}@host/laws", f"qdrant+https://user:{KEY}@host:port/laws"):
        with pytest.raises(errors.ConfigError) as caught:
            open_store(url, encoder=HashingEncoder())
        assert KEY not in str(caught.value)


def test_the_key_comes_from_the_environment(opening: Open, server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    server.api_key = KEY
    monkeypatch.setenv("SPLADE_PTBR_QDRANT_API_KEY", KEY)
    with pytest.warns(InsecureConnectionWarning):
        assert opening().count() == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make a certificate with")
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure(certificate: tuple[Path, Path]) -> Iterator[StandIn]:
    with stand_in(certificate) as server:
        yield server


def test_a_certificate_nobody_vouches_for_is_refused(secure: StandIn) -> None:
    with pytest.raises(errors.StoreAccessError, match=r"no trusted connection.*SPLADE_PTBR_QDRANT_CA_CERTS"):
        open_store(f"qdrant+{secure.url}/laws", encoder=HashingEncoder())
    assert not secure.seen


def test_an_authority_of_ones_own_is_trusted(secure: StandIn, certificate: tuple[Path, Path]) -> None:
    secure.api_key = KEY
    credentials = Credentials(api_key=SecretStr(KEY), ca_certs=certificate[0])
    with open_store(f"qdrant+{secure.url}/laws", encoder=HashingEncoder(), credentials=credentials) as store:
        store.upsert_vectors([ENTRY])

        async def search() -> Any:
            hits = await store.asearch(ENTRY[1])
            await store.aclose()
            return hits

        assert [hit.doc_id for hit in asyncio.run(search())] == ["a"]


def test_checking_can_be_switched_off_with_a_warning(secure: StandIn) -> None:
    with pytest.warns(InsecureConnectionWarning, match="is not checked"):
        store = open_store(f"qdrant+{secure.url}/laws", encoder=HashingEncoder(), credentials=Credentials(verify=False))
    assert store.count() == 0
    store.close()


def test_a_certificate_of_another_host_is_refused(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    other = make_certificate(tmp_path, "example.org")
    with stand_in(other) as server, pytest.raises(errors.StoreAccessError, match="no trusted connection"):
        open_store(f"qdrant+{server.url}/laws", encoder=HashingEncoder(), credentials=Credentials(ca_certs=other[0]))


def test_http_where_https_is_spoken_and_the_reverse(secure: StandIn, server: StandIn) -> None:
    with pytest.raises((errors.StoreAccessError, errors.StoreUnavailableError)):
        open_store(f"qdrant+http://127.0.0.1:{secure.port}/laws?deadline_s=0.2&timeout_s=2", encoder=HashingEncoder())
    with pytest.raises(errors.StoreAccessError, match="check the scheme"):
        open_store(f"qdrant+https://127.0.0.1:{server.port}/laws", encoder=HashingEncoder())


def test_a_file_without_certificates(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    with pytest.raises(errors.ConfigError, match="holds no certificates in PEM form"):
        open_store("qdrant+https://127.0.0.1:9/laws", encoder=HashingEncoder(), credentials=Credentials(ca_certs=file))
