"""The calls by which a collection is found, made and indexed before there is a store of it."""

from __future__ import annotations

import logging
from typing import Any

from qdrant_client import models

from ...errors import StoreAccessError, StoreNotFoundError, StoreWriteError
from ..binding import ModelStamp
from ..calls import Call, Operation
from ..performing import Performer
from ..retrying import Failure
from . import collection as collections
from .failures import read_failure
from .settings import QdrantSettings

logger = logging.getLogger(__name__)


class Opener(Performer):
    """Runs operations on a blocking client, with the retries of an ordinary call.

    Args:
        local: the client is in local mode, which has no payload indexes.
    """

    def __init__(self, client: Any, url: str, settings: QdrantSettings, *, local: bool) -> None:
        self._client = client
        self._url = url
        self._settings = settings
        self._policy = settings.policy()
        self._local = local

    def resolve(self, name: str) -> str:
        """The collection that an alias means now; a name that is no alias, or whose key may not ask, as it is."""
        try:
            aliases = self._run(_aliases())
        except StoreAccessError:
            return name
        return next((alias.collection_name for alias in aliases if alias.alias_name == name), name)

    def find(self, collection: str) -> models.CollectionInfo | None:
        """The collection, or None when there is none."""
        try:
            return self._run(_info(collection))
        except StoreNotFoundError:
            return None

    def create(self, collection: str, model: ModelStamp) -> models.CollectionInfo:
        """Make the collection; what is there afterwards may be somebody else's, made at the same moment."""
        self._run(collections.create(collection, self._settings, model, self._url, indexed=not self._local))
        return self._run(_info(collection))

    def index_tenant(self, collection: str, info: models.CollectionInfo) -> None:
        """Index the tenant unless it is; a key that may only read, or a server that is locked, is no error."""
        if self._local or collections.has_tenant_index(info):
            return
        try:
            self._run(collections.create_tenant_index(collection))
        except (StoreAccessError, StoreWriteError) as error:
            logger.warning("%s: no index by tenant, and none could be made (%s); filtering is slower", self._url, error)

    def _read_failure(self, error: Exception, call: Call) -> Failure:
        return read_failure(error, self._url)


def _aliases() -> Operation[list[models.AliasDescription]]:
    aliases: list[models.AliasDescription] = (yield Call("get_aliases")).aliases
    return aliases


def _info(collection: str) -> Operation[models.CollectionInfo]:
    info: models.CollectionInfo = yield Call("get_collection", {"collection_name": collection})
    return info
