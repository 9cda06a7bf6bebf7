"""Store URLs of servers: what comes out of them, and what no message repeats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.address import ServerAddress, parse_address, without_login
from tests.support.encoders import HashingEncoder
from tests.support.told import told

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=20)
hosts = names.filter(lambda name: not name.startswith(("-", "_"))) | st.sampled_from(["127.0.0.1", "[::1]", "es.example.org"])


def parse(url: str) -> ServerAddress:
    return parse_address(url, default_port=6333, environment="SPLADE_PTBR_QDRANT_API_KEY")


@given(st.sampled_from(["http", "https", "grpc", "grpcs"]), hosts, st.none() | st.integers(1, 65_535), st.lists(names, max_size=2), names)
def test_the_parts_of_a_url_come_out_and_go_in_again(scheme: str, host: str, port: int | None, prefix: list[str], collection: str) -> None:
    path = "/".join([*prefix, collection])
    address = parse(f"qdrant+{scheme}://{host}{'' if port is None else f':{port}'}/{path}?datatype=float16")
    assert (address.engine, address.scheme, address.collection) == ("qdrant", scheme, collection)
    assert address.host == host.strip("[]").lower()
    assert address.port == (6333 if port is None else port)
    assert address.prefix == "".join(f"/{part}" for part in prefix)
    assert address.tls == (scheme in ("https", "grpcs"))
    assert address.settings == {"datatype": "float16"}
    again = parse(address.url)
    assert (again.server, again.collection, again.url) == (address.server, collection, address.url)
    assert again.settings == {}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("qdrant+http://user:hunter2@host/laws", "holds credentials: leave them out and set SPLADE_PTBR_QDRANT_API_KEY"),
        ("qdrant+http://hunter2@host/laws", "holds credentials"),
        ("qdrant+http://user:hunter2@host:x/laws", "no valid host and port|holds credentials"),
        ("qdrant+http://user:hunter2@[::1/laws", "no valid host and port|holds credentials"),
        ("qdrant+http://host:99999/laws", "no valid host and port"),
        ("qdrant+http://host:x/laws", "no valid host and port"),
        ("qdrant+http://host:-1/laws", "no valid host and port"),
        ("qdrant+http:host/laws", "names no host"),
        ("qdrant+http:///laws", "names no host"),
        ("qdrant+http://:6333/laws", "names no host"),
        ("qdrant+http://host", "names no collection"),
        ("qdrant+http://host/", "names no collection"),
        ("qdrant+http://host/laws/", "names no collection"),
        ("qdrant+http://host/laws#part", "names no collection"),
        ("qdrant+http://host/laws?a", "not name=value"),
        ("qdrant+http://host/laws?a=1&a=2", "'a' is given twice"),
    ],
)
def test_urls_that_are_none_say_how_to_write_one(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(url)
    assert "hunter2" not in told(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "qdrant+http//user:hunter2@host/laws",
        "qdrant+http//host/laws?api_key=hunter2",
        "qdrant+http:user:hunter2@host/laws",
        "qdrant+http://user%3Ahunter2%40host/laws",
        "qdrant+http://user%3ahunter2%2540host/laws",
        "qdrant+http://user:1/hunter2@host/laws",
        "qdrant+http://user:hunter2/1@host/laws",
        "qdrant+http://user:1#hunter2@host/laws",
        "qdrant+http://user:hunter2?@host/laws",
        "qdrant+http://host:hunter2/laws",
        "qdrant+http://host:0/laws?api_key=hunter2",
        "qdrant+http://host/laws?api_key=hunter2",
        "qdrant+http://host/laws?hunter2",
        "opensearch+https//user:hunter2@host/laws",
        "http://user:hunter2@host/laws",
        "user:hunter2@host/laws",
        "hunter2@host:6333/laws",
        "hunter2@host/laws",
    ],
)
def test_a_login_shows_wherever_it_was_written_by_mistake_in_no_error(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(url, encoder=HashingEncoder())
    assert "hunter2" not in told(caught.value)


def test_a_forgotten_colon_is_named() -> None:
    with pytest.raises(ConfigError, match=r"lacks the colon .* write it as 'qdrant\+https://HOST:PORT/COLLECTION'"):
        open_store("qdrant+https//host:6333/laws", encoder=HashingEncoder())


@given(names, names, names)
def test_what_is_shown_of_a_url_is_the_url_unless_it_holds_a_login(host: str, collection: str, secret: str) -> None:
    for start in ("qdrant+http://", "qdrant+http//", "edge:", ""):
        assert without_login(f"{start}{host}/{collection}") == f"{start}{host}/{collection}"
        assert without_login(f"{start}u:{secret}@{host}/{collection}?a={secret}") == f"{start.removesuffix('edge:')}***@{host}/{collection}"
