"""Credentials of an OpenSearch server: sent to it and to nobody else, shown nowhere; certificates are checked."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.credentials import Credentials, InsecureConnectionWarning
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import make_certificate
from tests.support.told import told
from tests.unit.stores.opensearch.conftest import PATIENT, Open
from tests.unit.stores.opensearch.stand_in import Fault, StandIn, running

PASSWORD = "s3cr3t-p4ss"
BASIC = "Basic " + base64.b64encode(f"ana:{PASSWORD}".encode()).decode()
USER = Credentials(user="ana", password=SecretStr(PASSWORD))
KEY = Credentials(api_key=SecretStr(PASSWORD))
VECTOR = SparseVector([1], [1.0])
pytestmark = [
    pytest.mark.filterwarnings("ignore::splade_ptbr_connectors.stores.credentials.InsecureConnectionWarning"),
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]


@pytest.mark.parametrize(("credentials", "sent"), [(USER, BASIC), (KEY, f"ApiKey {PASSWORD}")])
def test_credentials_are_sent_and_shown_nowhere(
    opening: Open, server: StandIn, caplog: pytest.LogCaptureFixture, credentials: Credentials, sent: str
) -> None:
    server.authorization = sent
    with caplog.at_level(logging.DEBUG):
        store = opening(credentials=credentials)
        assert store.load([("a", VECTOR)]) == []

        async def search() -> tuple[int, str]:
            hits = await store.asearch(VECTOR)
            shown = repr(store._connection.async_client())
            await store.aclose()
            return len(hits), shown

        hits, shown = asyncio.run(search())
        assert hits == 1
        texts = [
            shown,
            repr(store),
            repr(store._connection.client),
            repr(store._connection.client.transport),
            repr(vars(store)),
            store.url,
            store.identity,
        ]
        server.authorization = "other"
        with pytest.raises(errors.StoreAccessError, match="SPLADE_PTBR_OPENSEARCH_PASSWORD") as caught:
            opening(credentials=credentials)
    texts += [caplog.text, str(caught.value), repr(caught.value), *map(str, caught.value.args)]
    assert all(header["authorization"] == sent for header in server.headers)
    for text in texts:
        assert PASSWORD not in text
        assert BASIC.split()[1] not in text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 500, 503])
@pytest.mark.parametrize("before", ["", "x" * 190])  # a message is cut within it
@pytest.mark.parametrize(("credentials", "sent"), [(USER, BASIC), (KEY, f"ApiKey {PASSWORD}")])
def test_a_server_that_repeats_the_credentials_brings_them_into_no_error_and_no_refusal(
    opening: Open, server: StandIn, caplog: pytest.LogCaptureFixture, status: int, before: str, credentials: Credentials, sent: str
) -> None:
    how: dict[str, Any] = {"credentials": credentials, "settings": {"deadline_s": 0.05, "load_deadline_s": 0.05}}
    store = opening(**how)
    secret = sent.split()[1]
    bodies = [f'{{"error":{{"type":"an_exception","reason":"{before}{sent}"}}}}', f"{before}{sent} and {PASSWORD}"]
    uses = {"_bulk": lambda: store.load([("a", VECTOR)]), "_count": store.count, "laws": lambda: opening(**how)}

    async def search() -> object:
        try:
            return await store.asearch(VECTOR)
        finally:
            await store._connection.async_client().close()

    uses["_search"] = lambda: asyncio.run(search())
    for body in bodies:
        for path, use in uses.items():
            server.fail(path, *[Fault(status=status, body=body.encode())] * 20)
            with caplog.at_level(logging.INFO):
                try:
                    result: object = use()
                except errors.StoreError as error:
                    result = told(error)
            assert result, f"neither an error nor a refusal by {path}"
            for hidden in (PASSWORD, secret[:8], PASSWORD[:8]):
                assert hidden not in repr(result)
    assert PASSWORD not in caplog.text


def test_credentials_over_http_are_warned_about(server: StandIn) -> None:
    with (
        pytest.warns(InsecureConnectionWarning, match="unencrypted: use opensearch"),
        open_store(f"opensearch+{server.url}/laws", encoder=HashingEncoder(), credentials=USER),
    ):
        pass


def test_credentials_come_from_the_environment(opening: Open, server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    server.authorization = BASIC
    monkeypatch.setenv("SPLADE_PTBR_OPENSEARCH_USER", "ana")
    monkeypatch.setenv("SPLADE_PTBR_OPENSEARCH_PASSWORD", PASSWORD)
    assert opening().count() == 0


def test_credentials_in_the_url_are_refused(server: StandIn) -> None:
    url = f"opensearch+{server.url}/laws".replace("http://", f"http://ana:{PASSWORD}@")
    with pytest.raises(errors.ConfigError, match="SPLADE_PTBR_OPENSEARCH_USER") as caught:
        open_store(url, encoder=HashingEncoder())
    assert PASSWORD not in str(caught.value)
    assert not server.seen


@pytest.mark.parametrize("credentials", [{"api_key": "a\nb"}, {"api_key": "açúcar"}, {"user": "a:b", "password": "c"}])
def test_credentials_that_no_header_can_carry(server: StandIn, credentials: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        open_store(f"opensearch+{server.url}/laws", encoder=HashingEncoder(), credentials=Credentials(**credentials))
    assert "açúcar" not in str(caught.value)
    assert not server.seen


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(opening: Open, server: StandIn, status: int) -> None:
    store = opening(credentials=KEY)
    with running() as thief:
        to_thief = Fault(status=status, headers={"Location": f"{thief.url}/stolen"})
        server.fail("_search", to_thief, to_thief)
        server.fail("_bulk", to_thief)
        for use in (lambda: store.search(VECTOR), lambda: store.load([("a", VECTOR)])):
            with pytest.raises(errors.StoreError, match=r"redirect .* not followed"):
                use()

        async def search() -> None:
            try:
                await store.asearch(VECTOR)
            finally:
                await store.aclose()

        with pytest.raises(errors.StoreError, match=r"redirect .* not followed"):
            asyncio.run(search())
        assert not thief.seen


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make a certificate with")
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure(certificate: tuple[Path, Path]) -> Iterator[StandIn]:
    with running(certificate) as stand_in:
        yield stand_in


def secure_store(server: StandIn, **arguments: Any) -> Any:
    return open_store(f"opensearch+{server.url}/laws", encoder=HashingEncoder(), settings=PATIENT, **arguments)


def test_a_certificate_nobody_vouches_for_is_refused(secure: StandIn) -> None:
    with pytest.raises(errors.StoreAccessError, match=r"not trusted .*SPLADE_PTBR_OPENSEARCH_CA_CERTS"):
        secure_store(secure)
    assert not secure.seen


def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    other = make_certificate(tmp_path, "example.org")
    with running(other) as server, pytest.raises(errors.StoreAccessError, match="not trusted"):
        secure_store(server, credentials=Credentials(ca_certs=other[0]))


@pytest.mark.parametrize("verify", [True, False])
def test_an_authority_of_ones_own_is_trusted(secure: StandIn, certificate: tuple[Path, Path], verify: bool) -> None:
    with secure_store(secure, credentials=Credentials(ca_certs=certificate[0] if verify else None, verify=verify)) as store:
        store.load([("a", VECTOR)])

        async def search() -> int:
            hits = await store.asearch(VECTOR)
            await store.aclose()
            return len(hits)

        assert asyncio.run(search()) == 1


def test_the_asynchronous_client_checks_certificates_too(secure: StandIn, certificate: tuple[Path, Path]) -> None:
    store = secure_store(secure, credentials=Credentials(ca_certs=certificate[0]))
    strict = secure_store(secure, credentials=Credentials(ca_certs=certificate[0]))
    clients = strict._connection._new_async_client.__self__
    store._connection._new_async_client = dataclasses.replace(clients, credentials=Credentials()).async_client

    async def search() -> None:
        try:
            await store.asearch(VECTOR)
        finally:
            await store.aclose()

    with pytest.raises(errors.StoreAccessError, match="not trusted"):
        asyncio.run(search())
    strict.close()


def test_an_unchecked_certificate_is_warned_about(secure: StandIn) -> None:
    with pytest.warns(InsecureConnectionWarning, match="is not checked"):
        secure_store(secure, credentials=Credentials(verify=False)).close()


def test_a_file_without_certificates(tmp_path: Path, secure: StandIn) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    with pytest.raises(errors.ConfigError, match="holds no certificates"):
        secure_store(secure, credentials=Credentials(ca_certs=file))
