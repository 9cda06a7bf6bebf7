"""What open_store() finds, makes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.edge.engine import EdgeEngine
from splade_ptbr_connectors.stores.model_stamp import FILE_NAME
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

VECTOR = SparseVector([1], [1.0])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("./index", "write it as 'edge:./index'"),
        ("index", "write it as 'edge:index'"),
        ("egde:index", "did you mean 'edge:'"),
        ("http://host:6333/leis", "does not say its engine: write it as 'qdrant"),
        ("mysql://user:secret@host/x", "unknown store scheme 'mysql:'; known schemes: edge:"),
        ("qdrant//user:secret?x@host/c", "has no scheme"),
        ("opensearch+http//user:secret?x%40host/c", "has no scheme|colon"),
        ("edge:", "names no folder"),
        ("edge://", "names no folder"),
        ("edge:a\0b", "names no folder"),
        ("edge:~nobody-of-this-name/index", "not known"),
        ("numba:~nobody-of-this-name/index", "not known"),
        ("edge:index?datatype=float16", "settings={...}"),
        ("numba:folder/index?a=1&b=2", "settings={...}"),
        ("numba:a\udcffb", "not valid UTF-8"),
        ("", "has no scheme"),
        (None, "is a string"),
    ],
)
def test_bad_urls_say_what_is_accepted(url: Any, message: str) -> None:
    with pytest.raises(errors.ConfigError, match=message.replace("(", r"\(")) as caught:
        open_store(url, encoder=HashingEncoder())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("max_batch_documents", [0, -1, 10_001, 2.0, True, "256"])
def test_bad_max_batch_documents(url: str, max_batch_documents: Any) -> None:
    with pytest.raises(errors.ConfigError, match="max_batch_documents"):
        open_store(url, encoder=HashingEncoder(), max_batch_documents=max_batch_documents)
    assert not Path(url.removeprefix("edge:")).exists()


def test_batch_size_is_still_taken_as_the_name_of_max_batch_documents(url: str) -> None:
    with open_store(url, encoder=HashingEncoder(), batch_size=7) as store:
        assert store.max_batch_documents == 7
    with pytest.raises(errors.ConfigError, match="max_batch_documents is 0"):
        open_store(url, encoder=HashingEncoder(), batch_size=0)
    with pytest.raises(errors.ConfigError, match="max_batch_documents and batch_size are the same argument"):
        open_store(url, encoder=HashingEncoder(), batch_size=7, max_batch_documents=7)


def test_so_it_is_with_a_client_of_ones_own() -> None:
    client, encoder = QdrantClient(":memory:"), HashingEncoder()
    for given, size in (({}, 256), ({"batch_size": 7}, 7), ({"max_batch_documents": 8}, 8)):
        with QdrantStore.from_client(client, "docs", encoder=encoder, **given) as store:
            assert store.max_batch_documents == size
    with pytest.raises(errors.ConfigError, match="max_batch_documents and batch_size are the same argument"):
        QdrantStore.from_client(client, "docs", encoder=encoder, batch_size=7, max_batch_documents=7)
    client.close()


@pytest.mark.parametrize("settings", [["datatype"], "datatype=float16", 3])
def test_settings_that_are_no_mapping(url: str, settings: Any) -> None:
    with pytest.raises(errors.ConfigError, match=r"settings is .* must be a mapping"):
        open_store(url, encoder=HashingEncoder(), settings=settings)
    assert not Path(url.removeprefix("edge:")).exists()


@pytest.mark.parametrize("form", ["edge:new/index", "edge://new/index", "edge:./new/index"])
def test_relative_paths(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store(form, encoder=HashingEncoder()) as store:
        assert store.url == form
    assert (tmp_path / "new/index" / FILE_NAME).is_file()


def test_home_and_three_slashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with open_store("edge:~/index", encoder=HashingEncoder()) as store:
        store.upsert_vectors([("a", VECTOR)])
    with open_store(f"edge://{tmp_path}/index", encoder=HashingEncoder()) as store:
        assert store.count() == 1


def test_create_false_makes_nothing(url: str) -> None:
    with pytest.raises(errors.StoreNotFoundError, match="no store at"):
        open_store(url, encoder=HashingEncoder(), create=False)
    assert not Path(url.removeprefix("edge:")).exists()


def test_a_new_store_needs_a_model_and_an_existing_one_names_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from splade_ptbr_connectors.encoding import encoder as module

    monkeypatch.setattr(module.SpladeEncoder, "load", staticmethod(lambda model: HashingEncoder(model)))
    with pytest.raises(errors.ConfigError, match="is new: say which model"):
        open_store(url)
    assert not Path(url.removeprefix("edge:")).exists()
    open_store(url, encoder="some/model").close()
    with open_store(url) as store:
        assert store.encoder.name == "some/model"


def test_an_encoder_that_is_none(url: str) -> None:
    with pytest.raises(errors.ConfigError, match="must be a SpladeEncoder or the name of a model"):
        open_store(url, encoder=3)  # type: ignore[arg-type]


def test_another_model_is_refused_by_name(url: str) -> None:
    first, second = HashingEncoder("first"), HashingEncoder("second")
    open_store(url, encoder=first).close()
    with pytest.raises(errors.ModelMismatchError) as caught:
        open_store(url, encoder=second)
    for part in ("'first'", "'second'", first.fingerprint[:12], second.fingerprint[:12], "allow_mismatch"):
        assert part in str(caught.value)
    with open_store(url, encoder=second, allow_mismatch=True) as store:
        assert store.encoder is second
    open_store(url, encoder=first).close()  # what the store was filled with is not forgotten


def test_same_name_but_other_settings(url: str) -> None:
    open_store(url, encoder=HashingEncoder(vocab_size=64)).close()
    with pytest.raises(errors.ModelMismatchError, match="same name, but other weights or settings"):
        open_store(url, encoder=HashingEncoder(vocab_size=65))


def test_sidecar_describes_the_store(url: str) -> None:
    encoder = HashingEncoder("mini")
    open_store(url, encoder=encoder).close()
    content = json.loads((Path(url.removeprefix("edge:")) / FILE_NAME).read_text())
    assert content["format_version"] == 2
    assert content["engine"] == "edge"
    assert (content["model"], content["fingerprint"], content["vocab_size"]) == ("mini", encoder.fingerprint, encoder.vocab_size)


def test_a_file_is_no_store(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(errors.StoreFormatError, match="is a file"):
        open_store(f"edge:{file}", encoder=HashingEncoder())
    with pytest.raises(errors.StoreWriteError, match="Not a directory"):
        open_store(f"edge:{file}/below", encoder=HashingEncoder())
    assert file.read_text() == "x"


def test_a_folder_with_other_things_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(errors.StoreFormatError, match=r"not empty and holds no splade-store\.json"):
        open_store(f"edge:{tmp_path}", encoder=HashingEncoder())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"format_version": 3}, errors.StoreFormatError, "format version 3, this package reads up to 2: upgrade"),
        ({"format_version": "1"}, errors.StoreFormatError, "is not the description of a store"),
        ({"engine": "numba"}, errors.StoreFormatError, "of the engine 'numba'"),
        ({"fingerprint": None}, errors.StoreFormatError, "lacks a valid 'fingerprint'"),
        ({"vocab_size": "many"}, errors.StoreFormatError, "lacks a valid 'vocab_size'"),
    ],
)
def test_sidecars_that_do_not_fit(url: str, change: dict[str, Any], error: type[Exception], message: str) -> None:
    open_store(url, encoder=HashingEncoder()).close()
    file = Path(url.removeprefix("edge:")) / FILE_NAME
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(error, match=message):
        open_store(url, encoder=HashingEncoder())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"null"])
def test_a_broken_sidecar(url: str, content: bytes) -> None:
    open_store(url, encoder=HashingEncoder()).close()
    (Path(url.removeprefix("edge:")) / FILE_NAME).write_bytes(content)
    with pytest.raises(errors.StoreFormatError, match=r"splade-store\.json"):
        open_store(url, encoder=HashingEncoder())


def test_a_store_is_opened_once_at_a_time(url: str) -> None:
    with open_store(url, encoder=HashingEncoder()), pytest.raises(errors.StoreLockedError, match="in use by another process"):
        open_store(url, encoder=HashingEncoder())
    open_store(url, encoder=HashingEncoder()).close()


def test_a_creation_that_was_cut_off_is_taken_up_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(EdgeEngine, "create", staticmethod(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)))
        with pytest.raises(KeyboardInterrupt):
            open_store(url, encoder=HashingEncoder())
    (Path(url.removeprefix("edge:")) / "shard.new").mkdir()
    with open_store(url, encoder=HashingEncoder()) as store:
        assert store.count() == 0


def test_a_store_made_anew_has_another_identity(url: str) -> None:
    import shutil

    with open_store(url, encoder=HashingEncoder()) as store:
        first = store.identity
    with open_store(url, encoder=HashingEncoder()) as store:
        assert store.identity == first
    shutil.rmtree(url.removeprefix("edge:"))
    with open_store(url, encoder=HashingEncoder()) as store:
        assert store.identity != first


@pytest.mark.parametrize("engine", ["numba", "edge"])
def test_a_store_says_how_it_splits(engine: str, tmp_path: Path) -> None:
    encoder = HashingEncoder()
    with open_store(f"{engine}:{tmp_path}/split", encoder=encoder, passages={"passage_tokens": 50, "overlap": 5}) as store:
        assert store.info()["passages"] == {"passage_tokens": 50, "overlap": 5}
    with open_store(f"{engine}:{tmp_path}/whole", encoder=encoder, passages=False) as store:
        assert store.info()["passages"] is False
