"""The layout of sentence-transformers' SparseEncoder, versions 5 and 6: where its network lies, and what its settings are.

A setting that changes vectors is adopted or refused by name. One that is not known here is refused too: it may change them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import ConfigDict, Field, PositiveInt

from ..errors import ModelFormatError
from ..json_values import parse_json
from .config import EncoderConfig, ModelFile, read_json_object
from .network_config import NetworkConfig
from .tokens import load_tokenizer

TABLE_FILE = "query_weights.safetensors"  # the name that an export gives the table
_PACKAGE = "sentence_transformers."
_TRANSFORMER_FILES = [f"sentence_{name}_config.json" for name in "bert roberta distilbert camembert albert xlm-roberta xlnet".split()]
_NO_LIMIT = 1_000_000  # of this many tokens or more: no text is longer
_ACTIVATIONS = {"relu": "log1p_relu", "log1p_relu": "log1p_log1p_relu"}  # they name what stands inside log1p


@dataclass(frozen=True, slots=True)
class SentenceTransformersFolder:
    """What was found.

    Attributes:
        network: folder of the network and its tokenizer.
        query_table: weights of the queries' tokens, where they go through no network (SparseStaticEmbedding).
    """

    network: Path
    config: EncoderConfig
    query_table: Path | None = None


class _File(ModelFile):
    model_config = ConfigDict(strict=True)


class _Module(_File):
    """An entry of modules.json."""

    type: str
    path: str = ""
    idx: Any = None
    name: Any = None
    kwargs: Any = None  # names of arguments of encode()


class _Model(_File):
    """config_sentence_transformers.json."""

    model_type: Literal["SparseEncoder"] = "SparseEncoder"
    prompts: Mapping[str, str | None] = Field(default_factory=dict)
    default_prompt_name: str | None = None  # of encode() alone: queries and documents have a prompt each, if an empty one
    similarity_fn_name: Literal["dot"] | None = None
    max_active_dims: PositiveInt | None = None
    truncate_dim: None = None
    requirements: Any = None
    version: Any = Field(None, alias="__version__")


class _Empty(_File):
    """Arguments that transformers is called with: any would change the network or the tokenizer."""

    trust_remote_code: Any = None


class _Loading(_Empty):
    """Those of the network that round at most."""

    dtype: Any = None
    torch_dtype: Any = None
    attn_implementation: Any = None
    device_map: Any = None
    low_cpu_mem_usage: Any = None
    use_safetensors: Any = None


class _Forward(_File):
    method: Literal["forward"] = "forward"
    method_output_name: Literal["logits"] = "logits"


class _Modalities(_File):
    text: _Forward = _Forward()
    message: Any = None  # for chats


class _Transformer(_File):
    """sentence_bert_config.json, which has another name for some families."""

    max_seq_length: PositiveInt | None = None
    do_lower_case: bool = False
    query_length: PositiveInt | None = None
    document_length: PositiveInt | None = None
    query_expansion: None = None
    transformer_task: Literal["fill-mask"] = "fill-mask"
    modality_config: _Modalities = _Modalities()
    module_output_name: Literal["token_embeddings"] = "token_embeddings"
    unpad_inputs: bool | None = None
    processing_kwargs: _Empty | None = None
    tokenizer_name_or_path: None = None
    model_args: _Loading | None = None
    model_kwargs: _Loading | None = None
    tokenizer_args: _Empty | None = None
    processor_kwargs: _Empty | None = None
    config_args: _Empty | None = None
    config_kwargs: _Empty | None = None


class _TokenizerConfig(_File):
    """tokenizer_config.json, of which only this matters here."""

    model_config = ConfigDict(extra="ignore")

    model_max_length: float | None = None


class _Pooling(_File):
    """config.json of SpladePooling."""

    pooling_strategy: Literal["max", "sum"] = "max"
    activation_function: Literal["relu", "log1p_relu"] = "relu"
    embedding_dimension: int | None = None
    word_embedding_dimension: int | None = None
    chunk_size: int | None = None


class _Parameters(_File):
    default_route: Any = None  # of texts that are neither queries nor documents
    allow_empty_key: Any = None
    route_mappings: _Empty | None = None


class _Router(_File):
    """router_config.json: folders of modules with their types, and which ones a query and a document go through."""

    types: dict[str, str]
    structure: dict[str, list[str]]
    parameters: _Parameters = _Parameters()


class _StaticEmbedding(_File):
    """config.json of SparseStaticEmbedding."""

    frozen: bool = False
    path: None = None


Modules = list[tuple[str, Path]]
"""Names of classes, and the folders of their files."""


def read_sentence_transformers_folder(folder: Path) -> SentenceTransformersFolder:
    """Read a folder with a modules.json.

    Two kinds can be loaded: a masked language model followed by SpladePooling, for queries and documents alike or, behind a
    Router, for documents alone, with a SparseStaticEmbedding for the queries.

    Raises:
        ModelFormatError: another kind, or a setting that cannot be taken over; names it and its file.
    """
    modules = _modules(folder)
    table = None
    if [kind for kind, _ in modules] == ["Router"]:
        table, modules = _routes(modules[0][1])
    if [kind for kind, _ in modules] != ["Transformer", "SpladePooling"]:
        raise _unknown(folder / "modules.json", modules)
    (_, network), (_, pooling) = modules
    transformer = _transformer(network)
    settings = _model_settings(folder) | _pooling_settings(pooling) | _lengths(network, transformer)
    settings["text"] = {"lowercase": transformer.do_lower_case}
    if table is None:
        return SentenceTransformersFolder(network, NetworkConfig(network).encoder_config(settings))
    if transformer.do_lower_case:
        raise ModelFormatError(f"{network} lowercases documents alone (do_lower_case): queries and documents have one text rule here.")
    settings |= {"query": {"kind": "table", "file": TABLE_FILE}, "max_length_query": _table_length(table, network)}
    return SentenceTransformersFolder(network, NetworkConfig(network).encoder_config(settings), table / "model.safetensors")


def _modules(folder: Path) -> Modules:
    file = folder / "modules.json"
    try:
        value = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"{file} cannot be read as JSON: {error}.") from error
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ModelFormatError(f"{file} must hold a list of modules.")
    entries = [_Module.checked(item, str(file)) for item in value]
    return [(_class(entry.type, file), _inside(folder, entry.path, file)) for entry in entries]


def _routes(folder: Path) -> tuple[Path, Modules]:
    """The folder of the queries' table, and the documents' modules."""
    file = folder / "router_config.json"
    router = _Router.checked(read_json_object(file), str(file))
    routes: dict[str, Modules] = {}
    for name, steps in router.structure.items():
        routes[name] = [(_class(router.types.get(step, ""), file), _inside(folder, step, file)) for step in steps]
    queries = routes.pop("query", [])
    if list(routes) != ["document"] or [kind for kind, _ in queries] != ["SparseStaticEmbedding"]:
        raise _unknown(file, [*queries, *(step for steps in routes.values() for step in steps)])
    table = queries[0][1]
    _StaticEmbedding.checked(read_json_object(table / "config.json"), str(table / "config.json"))
    return table, routes["document"]


def _class(reference: str, file: Path) -> str:
    """The class of a module. One that lies elsewhere is code of the folder's own, which is not run."""
    if not reference.startswith(_PACKAGE):
        raise ModelFormatError(
            f"{file} names {reference!r}: modules with code of their own are not loaded, only SpladePooling and the like."
        )
    name = reference.rpartition(".")[2]
    return "Transformer" if name == "MLMTransformer" else name


def _inside(folder: Path, path: str, file: Path) -> Path:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise ModelFormatError(f"{file} names the folder {path!r}: modules lie in the model's own folder.")
    return folder / parts


def _unknown(file: Path, modules: Modules) -> ModelFormatError:
    return ModelFormatError(
        f"{file} lists {', '.join(kind for kind, _ in modules) or 'nothing'}: only a masked language model followed by SpladePooling can "
        "be loaded, for queries too or with a SparseStaticEmbedding for them."
    )


def _model_settings(folder: Path) -> dict[str, Any]:
    file = folder / "config_sentence_transformers.json"
    model = _Model.checked(read_json_object(file) if file.is_file() else {}, str(file))
    prompts = {f"prompt_{side}": model.prompts.get(side) or "" for side in ("query", "document")}
    return prompts | {f"max_active_terms_{side}": model.max_active_dims for side in ("query", "document")}


def _pooling_settings(folder: Path) -> dict[str, Any]:
    pooling = _Pooling.checked(read_json_object(folder / "config.json"), str(folder / "config.json"))
    return {"pooling": pooling.pooling_strategy, "activation": _ACTIVATIONS[pooling.activation_function]}


def _transformer(folder: Path) -> _Transformer:
    file = next((folder / name for name in _TRANSFORMER_FILES if (folder / name).is_file()), None)
    return _Transformer.checked(read_json_object(file), str(file)) if file else _Transformer()


def _lengths(folder: Path, transformer: _Transformer) -> dict[str, int]:
    """The lengths that are declared, as far as there are positions."""
    limit = NetworkConfig(folder).position_limit
    either = transformer.max_seq_length or _tokenizer_length(folder)
    sides = {"query": transformer.query_length or either, "document": transformer.document_length or either}
    return {f"max_length_{side}": min(length, limit) for side, length in sides.items() if length}


def _tokenizer_length(folder: Path) -> int | None:
    file = folder / "tokenizer_config.json"
    length = _TokenizerConfig.checked(read_json_object(file), str(file)).model_max_length if file.is_file() else None
    return int(length) if length is not None and length < _NO_LIMIT else None


def _table_length(table: Path, network: Path) -> int:
    """Tokens of a query, special ones included. The table counts tokens of one tokenizer: it must be the documents'."""
    ours, theirs = (load_tokenizer(folder, NetworkConfig(network).vocab_size) for folder in (network, table))
    for tokenizer in (ours, theirs):
        tokenizer.no_padding()
        tokenizer.no_truncation()
    if ours.to_str() != theirs.to_str():
        raise ModelFormatError(f"the tokenizer in {table} differs from that in {network}: queries and documents must share one.")
    return (_tokenizer_length(table) or _NO_LIMIT) + int(ours.num_special_tokens_to_add(False))
