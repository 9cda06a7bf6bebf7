"""Settings of an engine and the arguments of open_store(): pydantic models, filled from the call and from the query part of a URL.

opensearch+https://host:9200/laws?shards=3&replicas=1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, Field, InstanceOf, NonNegativeFloat, SkipValidation, field_validator
from pydantic_core import ErrorDetails

from ..encoding.protocol import Encoder
from ..errors import ConfigError, StoreFormatError
from ..numerals import value_of
from ..strict import Strict
from ..text import check_text
from ..validation import renamed
from .credentials import Credentials
from .model_stamp import ModelStamp, StoreDescription, passage_settings

if TYPE_CHECKING:
    from .retries import RetryPolicy

MAX_BATCH_DOCUMENTS = 256  # by default
MAX_TENANT_BYTES = 256
MAX_DENSE_SIZE = 65_536
Datatype = Literal["float32", "float16", "uint8"]  # of the weights in an index of Qdrant's; see datatypes.py
Distance = Literal["dot", "cosine", "euclid"]  # of dense vectors
Timeout = Annotated[float, Field(gt=0, le=86_400)]  # seconds


class StoreSettings(Strict):
    """Settings by name, for open_store(settings=...) or the query part of a URL; `model_fields_set` names those that were asked for."""

    noun: ClassVar[str] = "store setting"

    @classmethod
    def _message(cls, wrong: ErrorDetails) -> str:
        told = super()._message(wrong)
        if str(wrong["loc"][0]) in ("dense_size", "dense_distance") and "dense_size" not in cls.model_fields:
            return f"{told.removesuffix('.')}. This engine keeps no dense vectors: use edge or qdrant."
        return told


S = TypeVar("S", bound=StoreSettings)


class ServerSettings(StoreSettings):
    """What the settings of every server have in common.

    Attributes:
        max_in_flight: how many loads may run at once.
        timeout_s: seconds for one answer.
        deadline_s, load_deadline_s: how long a call, and a call of a bulk load, is tried again (retries.py).
    """

    max_in_flight: Annotated[int, Field(ge=1, le=256)] = 4
    timeout_s: Timeout = 60.0
    deadline_s: NonNegativeFloat = 15.0
    load_deadline_s: NonNegativeFloat = 300.0

    def policy(self) -> RetryPolicy:
        """How calls are tried again."""
        from .retries import RetryPolicy  # with tenacity, which a store in a folder has no use for

        return RetryPolicy(deadline_s=self.deadline_s, load_deadline_s=self.load_deadline_s)


def batch_documents(given: int | None, earlier: int | None) -> int:
    """What max_batch_documents is, which was called batch_size. Raises ConfigError where both are given."""
    size = renamed("batch_size", earlier, "max_batch_documents", given)
    return MAX_BATCH_DOCUMENTS if size is None else size


class OpenOptions(Strict):
    """The arguments of open_store(); see there."""

    model_config = ConfigDict(arbitrary_types_allowed=True)  # an encoder is whatever has the methods of one
    noun: ClassVar[str] = "the argument"

    url: str
    encoder: SkipValidation[Encoder | str | None] = None
    create: bool = True
    allow_mismatch: bool = False
    max_batch_documents: Annotated[int, Field(ge=1, le=10_000)] = MAX_BATCH_DOCUMENTS
    tenant: str | None = None
    credentials: InstanceOf[Credentials] | None = None
    settings: Annotated[Mapping[str, Any], SkipValidation] = {}
    passages: Annotated[Mapping[str, Any] | bool | None, SkipValidation] = None

    @field_validator("tenant")
    @classmethod
    def _usable(cls, tenant: str | None) -> str | None:
        if tenant is not None and (not tenant.strip() or len(check_text(tenant, "tenant").encode()) > MAX_TENANT_BYTES):
            raise ConfigError(f"tenant is {tenant!r:.60}: it must be a string of 1 to {MAX_TENANT_BYTES} bytes, not blank.")
        return tenant

    @field_validator("settings")
    @classmethod
    def _by_name(cls, settings: object) -> object:
        if not isinstance(settings, Mapping):
            raise ConfigError(f"settings is {settings!r:.80}: it must be a mapping such as {{'timeout_s': 30}}.")
        return settings

    @field_validator("passages")
    @classmethod
    def _known(cls, passages: Mapping[str, Any] | bool | None) -> Mapping[str, Any] | bool | None:
        if not (passages is None or isinstance(passages, bool | Mapping)):
            raise ConfigError(f"passages is {passages!r:.80}: it must be a mapping such as {{'passage_tokens': 200}}, or False.")
        passage_settings(passages)
        return passages

    def description(self, engine: str, model: ModelStamp, settings: Mapping[str, Any], **more: Any) -> StoreDescription:
        """Of a store that is created with these options."""
        return StoreDescription(engine, model, settings, passages=passage_settings(self.passages), **more)

    @property
    def address(self) -> str:
        """What follows the scheme of the URL."""
        return self.url.partition(":")[2]


def read_settings(kind: type[S], given: Mapping[str, Any], in_url: Mapping[str, str] | None = None) -> S:
    """The settings of an engine.

    Args:
        given: values by name, of the right type.
        in_url: texts by name.

    Raises:
        ConfigError: a name that the engine does not know, a value that it does not accept, or one given in both places.
    """
    texts = in_url or {}
    twice = next((name for name in texts if name in given), None)
    if twice is not None:
        raise ConfigError(f"the store setting {twice!r} is given in the URL and as a setting: leave one out.")
    return kind(**{str(name): value for name, value in given.items()}, **{name: _meant(text, kind, name) for name, text in texts.items()})


def _meant(text: str, kind: type[Strict], name: str) -> object:
    field = kind.model_fields.get(name)
    return text if field is not None and field.annotation in (str, str | None) else value_of(text)


def as_stored(settings: S, stored: Mapping[str, Any], url: str) -> S:
    """The settings with those that an existing store has fixed.

    Args:
        settings: as asked for, defaults included.
        stored: what the store was created with, by name.

    Raises:
        StoreFormatError: one was asked for that the store does not have.
    """
    for name, value in stored.items():
        if name in settings.model_fields_set and getattr(settings, name) != value:
            raise StoreFormatError(
                f"the store {url} has {name}={value!r}, but is opened with {name}={getattr(settings, name)!r}: leave the setting out, "
                "or ingest into a new store."
            )
    return type(settings)(**{**settings.model_dump(include=settings.model_fields_set), **stored})
