"""An edge store's folder: described when it is made, its shard loaded and checked when it is opened."""

from __future__ import annotations

from pathlib import Path

from ..model_stamp import ModelStamp, write_sidecar
from ..settings import OpenOptions
from .contents import SHARD, Contents, new_contents
from .engine import RESERVE_BYTES, EdgeEngine, check_space, translated
from .settings import EdgeSettings, stored_settings


def create(folder: Path, model: ModelStamp, settings: EdgeSettings, options: OpenOptions) -> None:
    """Describe a new store. The sidecar first: a folder with a sidecar and no shard is resumed, one with a shard alone is not a store."""
    with translated(options.url, "create"):
        folder.mkdir(parents=True, exist_ok=True)
        check_space(folder, RESERVE_BYTES)
        write_sidecar(folder, options.description("edge", model, settings.to_mapping(), contents=new_contents()))


def open_shard(folder: Path, url: str) -> tuple[EdgeEngine, Contents]:
    """The loaded shard and what is known of it, checked before the engine touches the files and again afterwards."""
    with translated(url, "open"):
        contents = Contents(folder, url)
    engine = None
    try:
        with translated(url, "open"):
            if contents.is_new:
                EdgeEngine.create(folder / SHARD, EdgeSettings(**stored_settings(contents.description.settings)).config(), url)
            contents.check_files()
        engine = EdgeEngine(folder / SHARD, url)
        with engine.use("open") as shard:
            contents.check_documents(shard)
    except BaseException:
        if engine is not None:
            engine.close()
        contents.close()
        raise
    return engine, contents
