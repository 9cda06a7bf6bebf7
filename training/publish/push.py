"""Pushing a model folder to the Hugging Face hub: checked before anything is sent, compared with the hub's own listing afterwards.

The token is the environment's or the hub login's. It is never held, logged or part of a message here.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.errors import ConfigError, ModelError, ModelFormatError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD = "README.md"
ENDPOINT = "HF_ENDPOINT"
PICKLES = (".bin", ".ckpt", ".joblib", ".p", ".pickle", ".pkl", ".pt", ".pth")
TRAINING_STATE = re.compile(r"checkpoint.*|optimizer.*|scheduler.*|rng_state.*|trainer_state\.json|training_args.*|events\.out\.tfevents.*")
UNFINISHED = (".incomplete", ".partial", ".tmp")
PLAIN = (".json", ".md", ".onnx", ".safetensors", ".txt")  # by their names no pickles; safetensors may begin like one
SECRET = re.compile(rb"\bhf_[A-Za-z0-9]{30,}")
SEARCHED_BYTES = 20_000_000
REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
RUN_AGAIN = "Run the same command again: what has arrived is not sent twice."


# -- before anything is sent ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planned:
    """A folder that may be pushed.

    Attributes:
        folder: the model's folder.
        files: (path in the folder, bytes), by name; hidden files are not among them.
        license: as the card declares it.
        left_out: hidden files and folders at the top, which are not sent.
    """

    folder: Path
    files: tuple[tuple[str, int], ...]
    license: str
    left_out: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(size for _, size in self.files)


def plan(folder: Path) -> Planned:
    """Checks that a folder is a model others can use, and lists what would be sent. Needs no network and no token.

    Raises:
        ModelFormatError: no loadable model, no card with a licence, a pickle, a file of an unfinished training, a link that
            leads out of the folder, or an access token written in a file. Every such file is named.
    """
    if not folder.is_dir():
        raise ModelFormatError(f"{folder} is not a folder: give the folder of a packed model, such as runs/NAME/model.")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder)))
    token = _stored_token()
    problems = [f"{path.relative_to(folder).as_posix()}: {why}" for path in paths for why in _problems(path, folder, token)]
    if problems:
        more = f" and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise ModelFormatError(f"{folder} cannot be pushed. {'; '.join(problems[:10])}{more}.")
    license_id = _license_of(folder / CARD)
    _check_model(folder)
    files = tuple((path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths)
    left_out = tuple(sorted(path.name for path in folder.iterdir() if _hidden(path.relative_to(folder))))
    return Planned(folder, files, license_id, left_out)


def _check_model(folder: Path) -> None:
    """The folder gives vectors: what nobody can load is of no use on the hub."""
    vector = SpladeEncoder.load(folder).encode_document("O prazo da declaração termina em maio.")
    if not len(vector):
        raise ModelFormatError(f"{folder} loads, but gives an empty vector for a Portuguese sentence: it is not a trained model.")


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _problems(path: Path, folder: Path, token: str | None) -> Iterator[str]:
    """Why a file must not be published."""
    if not path.resolve().is_relative_to(folder.resolve()):
        yield "a link that leads out of the folder; put the file itself there"
        return
    if path.suffix.lower() in PICKLES or (path.suffix.lower() not in PLAIN and _is_pickle(path)):
        yield "pickled, so loading it can run code; save it as safetensors"
    names = path.relative_to(folder).parts
    if any(TRAINING_STATE.fullmatch(name.lower()) for name in names) or path.suffix.lower() in UNFINISHED:
        yield "belongs to the training, not to the model; move it out of the folder"
    searched = path.stat().st_size <= SEARCHED_BYTES and path.suffix.lower() not in (".onnx", ".safetensors")
    if searched and _has_secret(path.read_bytes(), token):
        yield "holds an access token; remove it, and revoke the token if others may have seen it"


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(2)
    if head[:1] == b"\x80" and head[1:] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(".pkl") for name in archive.namelist())


def _has_secret(content: bytes, token: str | None) -> bool:
    return SECRET.search(content) is not None or (token is not None and token.encode() in content)


def _license_of(card: Path) -> str:
    """The licence that the card's front matter declares."""
    from huggingface_hub import metadata_load

    if not card.is_file():
        raise ModelFormatError(f"{card.parent} has no {CARD}: write one with `python -m training card`.")
    try:
        metadata = metadata_load(card) or {}
    except Exception as error:  # the parser of YAML has errors of its own
        raise ModelFormatError(f"the front matter of {card} is not YAML ({str(error).splitlines()[0]}): write the card again.") from error
    declared = metadata.get("license") if isinstance(metadata, dict) else None
    if not isinstance(declared, str) or not declared.strip():
        raise ModelFormatError(
            f"the front matter of {card} declares no license: write the card with `python -m training card --license ID`."
        )
    return declared.strip()


# -- sending --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pushed:
    """What is on the hub now.

    Attributes:
        url: of the repository.
        commit: of the last change; the one that was there when nothing had changed.
        created: whether the repository is new.
        kept: files of the repository that the folder does not have; they stay.
    """

    url: str
    commit: str
    created: bool
    kept: tuple[str, ...] = ()


def push(planned: Planned, repo_id: str, *, private: bool = False, revision: str | None = None, message: str | None = None) -> Pushed:
    """Creates the repository if need be, sends what it lacks, and compares every file with what the hub lists.

    Args:
        planned: from `plan`.
        repo_id: OWNER/NAME.
        private: of a repository that is created. One that is public already is refused.
        revision: branch; made from main if it is not there. None: main.
        message: of the commit.

    Raises:
        ConfigError: not OWNER/NAME, no token, HF_ENDPOINT is not a URL, `private` and the repository is public.
        ModelError: the hub refused, could not be reached, or does not hold what was sent. The message says what to do.
    """
    if not REPO_ID.fullmatch(repo_id):
        raise ConfigError(f"{repo_id!r} is not a repository: give OWNER/NAME, letters, digits, '-', '_' and '.' in both.")
    with _explained("the access token cannot be read", "Nothing was sent."):
        without_token = _token() is None
    if without_token:
        raise ConfigError("there is no access token of the hub: run `hf auth login`, or set HF_TOKEN to one with write permission.")
    api = _api()
    with _explained(f"{repo_id} was not created or opened", "Nothing was sent."):
        created = not api.repo_exists(repo_id)
        if created:
            api.create_repo(repo_id, private=private or None, exist_ok=True)
    if private and not created:
        _check_private(api, repo_id)
    if revision is not None:
        with _explained(f"the branch {revision!r} of {repo_id} was not made", "Nothing was sent."):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
    with _explained(f"{repo_id} was not filled", RUN_AGAIN):
        # only these very files: what appears in the folder meanwhile was not checked
        names = [_literal(name) for name, _ in planned.files]
        told = message or "Model, tokenizer, settings and card"
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=planned.folder, allow_patterns=names, revision=revision, commit_message=told
        )
    kept = _verify(api, planned, repo_id, revision)
    return Pushed(f"{api.endpoint}/{repo_id}", str(commit.oid), created, kept)


def _literal(name: str) -> str:
    """A file's name as a pattern that matches only it."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _api() -> HfApi:
    from huggingface_hub import HfApi

    endpoint = os.environ.get(ENDPOINT) or None
    if endpoint is not None and not re.fullmatch(r"https?://[^\s/@]+(/[^\s@]*)?", endpoint):
        raise ConfigError(f"{ENDPOINT} is not a URL of a hub: expected https://HOST, without user and password.")
    return HfApi(endpoint=endpoint.rstrip("/") if endpoint else None)


def _token() -> str | None:
    """The token that the hub client will send; it may have to be renewed over the network."""
    from huggingface_hub import get_token

    return get_token()


def _stored_token() -> str | None:
    """The token of the environment or of the login's file, without any network: what must not show anywhere."""
    from huggingface_hub import constants

    file = Path(constants.HF_TOKEN_PATH)
    return (os.environ.get("HF_TOKEN") or (file.read_text(encoding="utf-8") if file.is_file() else "")).strip() or None


def _check_private(api: HfApi, repo_id: str) -> None:
    with _explained(f"{repo_id} cannot be looked at", "Nothing was sent."):
        public = not api.repo_info(repo_id).private
    if public:
        raise ConfigError(f"{repo_id} already exists and is public: make it private in its settings, or push without --private.")


def _verify(api: HfApi, planned: Planned, repo_id: str, revision: str | None) -> tuple[str, ...]:
    """Compares sizes and hashes with what the hub lists; the hub's other files."""
    with _explained(f"{repo_id} was filled, but cannot be read back", RUN_AGAIN):
        listed = {
            entry.path: entry for entry in api.list_repo_tree(repo_id, recursive=True, revision=revision) if hasattr(entry, "blob_id")
        }
    different = [name for name, size in planned.files if not _same(planned.folder / name, size, listed.get(name))]
    if different:
        raise ModelError(
            f"{repo_id} does not hold what was sent: {', '.join(different[:5])} differ or are missing. "
            f"Did a file change meanwhile, or does the repository's .gitignore leave it out? {RUN_AGAIN}"
        )
    return tuple(sorted(set(listed) - {name for name, _ in planned.files} - {".gitattributes"}))


def _same(path: Path, size: int, entry: Any) -> bool:
    if entry is None or entry.size != size:
        return False
    with path.open("rb") as file:
        if entry.lfs is not None:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == entry.lfs.sha256)
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # git's name of a file's content
        while part := file.read(1 << 20):
            digest.update(part)
    return bool(digest.hexdigest() == entry.blob_id)


# -- errors ---------------------------------------------------------------------------------------------------------------


@contextmanager
def _explained(what: str, then: str) -> Iterator[None]:
    """The hub client's many errors as one of ours that says what to do; a token in their text is taken out."""
    try:
        yield
    except Exception as error:  # HTTP, network, validation, offline mode, OS: types that have no common base
        _explain(error, what, then)


def _explain(error: Exception, what: str, then: str) -> NoReturn:
    refused = next((one for one in _chain(error) if getattr(one, "response", None) is not None), None)
    status = getattr(getattr(refused, "response", None), "status_code", None)
    reason = {
        401: "the hub does not know the access token (401): run `hf auth login` again, or set HF_TOKEN",
        403: "the access token may not write there (403): make one with write permission, or ask the owner",
        404: "the hub finds no such repository or branch, or hides it from this access token (404)",
        409: "the hub holds a conflicting repository or change (409)",
        413: "the hub refuses files of this size (413)",
        429: "the hub asks to wait: too many requests (429)",
    }.get(status or 0)
    if reason is None:
        told = getattr(refused, "server_message", None) or _first(error)
        root = _chain(error)[-1]
        reason = f"the hub says: {told} ({status})" if status else f"{type(root).__name__}: {_first(root)}"
    # not chained: requests and headers within the original hold the token
    raise ModelError(f"{what}: {redacted(reason)}. {then}") from None


def _chain(error: BaseException) -> Sequence[BaseException]:
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200].rstrip(".") if lines else type(error).__name__


def redacted(text: str) -> str:
    """The text without access tokens."""
    token = _stored_token()
    hidden = text.replace(token, "***") if token else text
    return re.sub(r"\bhf_[A-Za-z0-9]{8,}", "***", re.sub(r"(?i)\b(bearer)\s+\S+", r"\1 ***", hidden))
