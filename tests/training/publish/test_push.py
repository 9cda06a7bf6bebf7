"""Pushing to a stand-in of the hub: what arrives equals the folder, what must not be published is refused, tokens never show."""

from __future__ import annotations

import logging
import pickle
import shutil
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import typer
from typer.testing import CliRunner

from splade_ptbr_connectors.errors import ConfigError, ModelError, ModelFormatError
from tests.training.hub_stand_in import Hub, Repository, Server
from training.commands.push import push as push_command
from training.publish.push import plan, push, redacted

pytest.importorskip("torch")
# the hub client's own, of the HTTP library that it sends files with
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
TOKEN = "hf_" + "segredo" * 5
CARD = "---\nlanguage: pt\nlicense: apache-2.0\n---\n\n# Teste com acentuação\n"
REPO = "alguem/splade"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(TOKEN)
    server = Server(hub)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-login"))
    huggingface_hub.close_session()
    yield hub
    huggingface_hub.close_session()
    server.close()


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    target = tmp_path / "model"
    shutil.copytree(tiny_model, target)
    (target / "README.md").write_text(CARD, encoding="utf-8")
    (target / "sub").mkdir()
    (target / "sub" / "config [1].json").write_text("{}", encoding="utf-8")
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_arrives_equals_the_folder_byte_for_byte(hub: Hub, folder: Path) -> None:
    pushed = push(plan(folder), REPO)
    repository = hub.repositories[REPO]
    assert repository.branches["main"] == contents(folder)
    assert pushed.created and pushed.url == f"{hub.url}/{REPO}" and pushed.commit == repository.sha
    large = {name for name, content in contents(folder).items() if len(content) >= hub.lfs_from}
    assert large and repository.lfs == large, "large files go by LFS, small ones in the commit"
    assert not repository.private


def test_pushing_again_sends_nothing(hub: Hub, folder: Path) -> None:
    first = push(plan(folder), REPO)
    sent, stored = dict(hub.sent), dict(hub.stored)
    again = push(plan(folder), REPO)
    assert hub.sent == sent and hub.stored == stored
    assert not again.created and again.commit == first.commit


def test_a_changed_file_alone_is_sent(hub: Hub, folder: Path) -> None:
    push(plan(folder), REPO)
    before = hub.sent.copy()
    (folder / "README.md").write_text(CARD + "mais\n", encoding="utf-8")
    push(plan(folder), REPO)
    assert dict(hub.sent - before) == {"README.md": 1}
    assert hub.repositories[REPO].branches["main"] == contents(folder)


def test_a_push_that_failed_half_way_goes_on(hub: Hub, folder: Path) -> None:
    (folder / "tables").mkdir()
    for number in range(3):
        (folder / "tables" / f"{number}.txt").write_bytes(bytes([number]) * 20_000)
    planned = plan(folder)
    hub.failures["PUT /stored/.*"] = [(403, {"error": "the disk is full"})]
    with pytest.raises(ModelError, match=r"was not filled.*403.*[Rr]un the same command again"):
        push(planned, REPO)
    assert hub.repositories[REPO].branches["main"] == {}, "nothing is published by halves"
    push(planned, REPO)
    assert hub.repositories[REPO].branches["main"] == contents(folder)
    assert all(count == 1 for count in hub.sent.values()), "what had arrived was not sent again"


def test_the_commit_that_fails_leaves_the_repository_as_it_was(hub: Hub, folder: Path) -> None:
    push(plan(folder), REPO)
    before = dict(hub.repositories[REPO].branches["main"])
    (folder / "README.md").write_text(CARD + "mais\n", encoding="utf-8")
    hub.failures["POST .*/commit/.*"] = [(409, {"error": "A commit has happened since"})]
    with pytest.raises(ModelError, match="409"):
        push(plan(folder), REPO)
    assert hub.repositories[REPO].branches["main"] == before


def test_what_the_hub_holds_is_compared_with_the_folder(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = dict.fromkeys(["README.md"], b"other")
    tree = hub.tree
    monkeypatch.setattr(hub, "tree", lambda body, repo, revision: _damaged(hub, tree, damaged, repo, revision))
    with pytest.raises(ModelError, match=r"does not hold what was sent: README\.md"):
        push(plan(folder), REPO)


def _damaged(hub: Hub, tree, damaged: dict[str, bytes], repo: str, revision: str):  # type: ignore[no-untyped-def]
    hub.repositories[repo].branches[revision].update(damaged)
    return tree(b"", repo, revision)


def test_a_branch_is_made_and_main_stays(hub: Hub, folder: Path) -> None:
    hub.repositories[REPO] = Repository(branches={"main": {"old.txt": b"old"}})
    for _ in range(2):
        pushed = push(plan(folder), REPO, revision="experimento/um")
    assert hub.repositories[REPO].branches["main"] == {"old.txt": b"old"}
    assert hub.repositories[REPO].branches["experimento/um"] == contents(folder) | {"old.txt": b"old"}
    assert pushed.kept == ("old.txt",)


def test_private_is_kept_and_a_public_repository_is_refused(hub: Hub, folder: Path) -> None:
    push(plan(folder), REPO, private=True)
    assert hub.repositories[REPO].private
    push(plan(folder), REPO, private=True)
    hub.repositories["a/publico"] = Repository()
    with pytest.raises(ConfigError, match="public"):
        push(plan(folder), "a/publico", private=True)
    assert hub.repositories["a/publico"].branches == {"main": {}}


@pytest.mark.parametrize(
    ("where", "status", "said"),
    [
        ("POST /api/repos/create", 403, "may not write"),
        ("POST /api/repos/create", 401, "does not know the access token"),
        ("POST .*/preupload/.*", 403, "may not write"),
        ("POST .*/preupload/.*", 404, "no such repository"),
        ("POST .*/lfs/objects/batch", 413, "files of this size"),
        ("POST .*/commit/.*", 400, "bad request made up"),
    ],
)
def test_a_refusal_says_what_to_do(hub: Hub, folder: Path, where: str, status: int, said: str) -> None:
    hub.failures[where] = [(status, {"error": f"bad request made up by {TOKEN}"})]
    with pytest.raises(ModelError, match=said) as caught:
        push(plan(folder), REPO)
    _assert_no_token(caught.value)


def _assert_no_token(error: BaseException, *texts: str) -> None:
    shown = "".join(traceback.format_exception(error)) + repr(error) + "".join(texts)
    assert "segredo" not in shown


def test_the_wrong_token_is_named_as_the_reason(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "segredoErrado" * 3)
    with pytest.raises(ModelError, match="401") as caught:
        push(plan(folder), REPO)
    _assert_no_token(caught.value)
    assert not hub.repositories


def test_a_token_with_a_letter_that_no_header_can_hold_does_not_show(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_segredo ção")
    with pytest.raises(ModelError) as caught:
        push(plan(folder), REPO)
    _assert_no_token(caught.value)


def test_without_a_token_nothing_is_asked(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ConfigError, match="hf auth login"):
        push(plan(folder), REPO)
    assert not hub.requests


def test_an_unreachable_hub_is_an_error_with_its_reason(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="not created or opened") as caught:
        push(plan(folder), REPO)
    _assert_no_token(caught.value)


@pytest.mark.parametrize("endpoint", ["ftp://x", "huggingface.co", "https://user:pass@x"])
def test_an_endpoint_that_is_no_url_is_refused(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(ConfigError, match="HF_ENDPOINT"):
        push(plan(folder), REPO)


@pytest.mark.parametrize("repo_id", ["splade", "a/b/c", "a/", "/b", "a b/c", "../x", ""])
def test_a_repository_is_owner_and_name(hub: Hub, folder: Path, repo_id: str) -> None:
    with pytest.raises(ConfigError, match="OWNER/NAME"):
        push(plan(folder), repo_id)
    assert not hub.requests


def test_the_token_is_in_no_log(hub: Hub, folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG):
        push(plan(folder), REPO)
        hub.failures["POST .*/commit/.*"] = [(400, {"error": "no"})]
        (folder / "README.md").write_text(CARD + "mais\n", encoding="utf-8")
        with pytest.raises(ModelError):
            push(plan(folder), REPO)
    out, err = capfd.readouterr()
    assert "segredo" not in caplog.text + out + err
    assert "segredo" not in repr(plan(folder))


def test_tokens_are_taken_out_of_texts(hub: Hub) -> None:
    assert "segredo" not in redacted(f"header b'Bearer {TOKEN}' and {TOKEN}, authorization: bearer segredo")
    assert redacted("a model") == "a model"


# -- what may be pushed ---------------------------------------------------------------------------------------------------


def test_the_plan_lists_every_file_with_its_size_and_leaves_hidden_ones_out(folder: Path) -> None:
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").write_text("x")
    (folder / ".env").write_text("SENHA=1")
    planned = plan(folder)
    expected = {name: len(content) for name, content in contents(folder).items() if not name.startswith(".")}
    assert dict(planned.files) == expected and planned.total_bytes == sum(expected.values())
    assert planned.left_out == (".cache", ".env") and planned.license == "apache-2.0"


def test_a_hidden_file_does_not_arrive(hub: Hub, folder: Path) -> None:
    (folder / ".env").write_text("SENHA=1")
    push(plan(folder), REPO)
    assert ".env" not in hub.repositories[REPO].branches["main"]


def test_what_appears_after_the_check_is_not_sent(hub: Hub, folder: Path) -> None:
    planned = plan(folder)
    (folder / "novo.pkl").write_bytes(pickle.dumps(1))
    push(planned, REPO)
    assert "novo.pkl" not in hub.repositories[REPO].branches["main"]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.pkl", "sub/y.PT", "weights.pth", "a.ckpt", "m.joblib"])
def test_pickles_are_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"whatever")
    with pytest.raises(ModelFormatError, match="pickled"):
        plan(folder)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_refused_under_any_name(folder: Path, protocol: int) -> None:
    (folder / "vocabulary").write_bytes(pickle.dumps({"a": 1}, protocol=protocol))
    with pytest.raises(ModelFormatError, match="vocabulary: pickled"):
        plan(folder)


def test_a_torch_archive_is_refused_under_any_name(folder: Path) -> None:
    with zipfile.ZipFile(folder / "weights", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    with pytest.raises(ModelFormatError, match="weights: pickled"):
        plan(folder)


def test_safetensors_whose_header_has_640_bytes_are_no_pickle(folder: Path) -> None:
    """The length of their header, which they begin with, can read like the mark of a pickle."""
    import numpy as np
    from safetensors.numpy import save_file

    for size in range(500, 640):
        save_file({"a" * size: np.zeros(1, np.float32)}, folder / "table.safetensors")
        if (folder / "table.safetensors").read_bytes()[:2] == b"\x80\x02":
            break
    assert (folder / "table.safetensors").read_bytes()[:2] == b"\x80\x02"
    assert "table.safetensors" in dict(plan(folder).files)


@pytest.mark.parametrize(
    "name", ["checkpoint-500/config.json", "optimizer.safetensors", "trainer_state.json", "rng_state_0.json", "model.partial"]
)
def test_files_of_the_training_are_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    with pytest.raises(ModelFormatError, match="belongs to the training"):
        plan(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("private")
    (folder / "notes.txt").symlink_to(tmp_path / "diary.txt")
    with pytest.raises(ModelFormatError, match=r"notes\.txt: a link"):
        plan(folder)


@pytest.mark.parametrize("text", [f"token = '{TOKEN}'", "hf_" + "a1B2c3D4e5" * 4])
def test_an_access_token_in_a_file_is_refused_and_not_repeated(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (folder / "notes.md").write_text(text)
    with pytest.raises(ModelFormatError, match=r"notes\.md: holds an access token") as caught:
        plan(folder)
    _assert_no_token(caught.value)


def test_a_folder_without_card_or_licence_is_refused(folder: Path) -> None:
    for card, said in (("# no front matter\n", "declares no license"), ("---\nlicense: [\n---\n", "not YAML"), (None, "has no README")):
        (folder / "README.md").unlink()
        if card is not None:
            (folder / "README.md").write_text(card)
        with pytest.raises(ModelFormatError, match=said):
            plan(folder)
        (folder / "README.md").write_text(CARD)


def test_what_does_not_load_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelFormatError):
        plan(folder)
    with pytest.raises(ModelFormatError, match="is not a folder"):
        plan(tmp_path / "nowhere")


# -- the command ----------------------------------------------------------------------------------------------------------


def invoke(*arguments: str):  # type: ignore[no-untyped-def]
    app = typer.Typer()
    app.command()(push_command)
    return CliRunner().invoke(app, list(arguments))


def test_a_dry_run_lists_sizes_and_asks_nobody(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    result = invoke(str(folder), REPO, "--dry-run")
    assert result.exit_code == 0 and not hub.requests
    size = f"{(folder / 'model.safetensors').stat().st_size:,}  model.safetensors"
    assert size in result.output and "apache-2.0" in result.output and "nothing was sent" in result.output


def test_the_command_says_where_the_model_is(hub: Hub, folder: Path) -> None:
    result = invoke(str(folder), REPO, "--private", "--revision", "v1")
    assert result.exit_code == 0, result.output
    assert f"{hub.url}/{REPO}" in result.output and "segredo" not in result.output
    assert hub.repositories[REPO].branches["v1"] == contents(folder) and hub.repositories[REPO].private
