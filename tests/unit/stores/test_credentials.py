"""Credentials: from the environment, complete, and shown nowhere."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.stores.credentials import Credentials, HandedOver, environment_names

SECRET = "hunter2-4f1c"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in ("qdrant", "opensearch"):
        for variable in environment_names(engine).values():
            monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("engine", ["qdrant", "opensearch"])
def test_every_part_comes_from_its_variable(engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.write_text("x")
    names = environment_names(engine)
    assert all(variable.startswith(f"SPLADE_PTBR_{engine.upper()}_") for variable in names.values())
    values = {"user": "u", "password": SECRET, "ca_certs": str(authorities), "verify": "0"}
    for name, value in values.items():
        monkeypatch.setenv(names[name], value)
    found = Credentials.from_environment(engine)
    assert found == Credentials(user="u", password=SecretStr(SECRET), ca_certs=authorities, verify=False)
    assert found.present


def test_an_empty_environment_is_nothing_and_everything_verified() -> None:
    found = Credentials.from_environment("qdrant")
    assert found == Credentials()
    assert found.verify
    assert not found.present


def test_one_engine_does_not_take_the_key_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLADE_PTBR_QDRANT_API_KEY", SECRET)
    assert not Credentials.from_environment("opensearch").present


@pytest.mark.parametrize(
    "credentials",
    [Credentials(api_key=SecretStr(SECRET)), Credentials(user="u", password=SecretStr(SECRET)), Credentials(api_key=SECRET)],  # type: ignore[arg-type]
)
def test_a_secret_shows_in_no_form(credentials: Credentials) -> None:
    shown = [repr(credentials), str(credentials), f"{credentials}", repr(vars(credentials)), repr(copy.copy(credentials))]
    assert not any(SECRET in text for text in shown)
    secret = credentials.api_key or credentials.password
    assert secret is not None
    assert secret.get_secret_value() == SECRET


@pytest.mark.parametrize("how", [pickle.dumps, lambda one: pickle.dumps({"options": [one]})])
def test_credentials_are_not_pickled_but_handed_over(how: Callable[[Credentials], bytes]) -> None:
    credentials = Credentials(user="u", password=SecretStr(SECRET), verify=False)
    with pytest.raises(ConfigError, match="cannot be pickled"):
        how(credentials)
    assert copy.deepcopy([credentials]) == [credentials]
    handed = HandedOver(credentials)
    assert SECRET not in repr(handed)
    assert pickle.loads(pickle.dumps(handed)).take() == credentials  # noqa: S301


secrets = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=8, max_size=40).filter(lambda text: "*" not in text)


@given(secrets, st.text("abc ", max_size=5), st.text("abc ", max_size=5))
def test_whatever_form_a_server_repeats_a_secret_in_it_is_hidden(secret: str, before: str, after: str) -> None:
    credentials = Credentials(user="u", password=SecretStr(secret))
    header = base64.b64encode(f"u:{secret}".encode()).decode()
    for form in (secret, header, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1], repr(secret.encode())[2:-1]):
        hidden = credentials.hide(before + form + after)
        assert form not in hidden
        assert form[:8] not in credentials.hide(before + form[:-1])  # a message that was cut


@given(st.text(max_size=50))
def test_nothing_is_hidden_without_a_secret(text: str) -> None:
    assert Credentials().hide(text) == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"api_key": SecretStr("")}, "api_key is blank"),
        ({"api_key": "  "}, "api_key is blank"),
        ({"user": "u", "password": SecretStr("\t")}, "password is blank"),
        ({"user": "u"}, "password is missing"),
        ({"password": SecretStr(SECRET)}, "user is missing"),
        ({"user": "u", "password": SecretStr(SECRET), "api_key": SecretStr(SECRET)}, "leave one out"),
        ({"ca_certs": Path("/no/such/file")}, "there is no such file"),
    ],
)
def test_incomplete_credentials(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Credentials(**arguments)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", ["yes", "2", "off"])
def test_verify_is_switched_off_by_a_clear_word_only(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLADE_PTBR_QDRANT_VERIFY", value)
    with pytest.raises(ConfigError, match=r"SPLADE_PTBR_QDRANT_VERIFY is .*: it must be 0 or 1"):
        Credentials.from_environment("qdrant")


def test_a_blank_key_in_the_environment_is_no_key_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLADE_PTBR_QDRANT_API_KEY", "")
    with pytest.raises(ConfigError, match="api_key is blank"):
        Credentials.from_environment("qdrant")
