"""Who scores mined lines: cross-encoders, T5 rerankers, sparse models and TREC runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.encoding.network_config import position_limit
from splade_ptbr_connectors.encoding.protocol import Encoder
from splade_ptbr_connectors.errors import ConfigError, InputFileError, ModelFormatError, ModelNotFoundError
from splade_ptbr_connectors.evaluation.runs import read_run
from training.mining.mined_lines import MinedLine

MONO_T5_TEMPLATE = "Query: {query} Document: {document} Relevant:"
MONO_T5_TOKENS = ("▁false", "▁true")
Scores = NDArray[np.float64]


class Teacher(Protocol):
    """Scores the documents of lines; `name` says what it is and how it was set."""

    name: str

    def score(self, lines: Sequence[MinedLine]) -> list[Scores]:
        """One array for each line, one score for each of its documents."""
        ...


class PairTeacher:
    """A model that reads a query and a document together: `scores_of` takes pairs of texts and gives as many numbers."""

    def __init__(self, name: str, scores_of: Callable[[list[tuple[str, str]]], Any]) -> None:
        self.name = name
        self._scores_of = scores_of

    def score(self, lines: Sequence[MinedLine]) -> list[Scores]:
        """Every pair of all lines at once, so that texts of like length share a batch."""
        scores = np.asarray(self._scores_of([(line.query, document) for line in lines for document in line.documents]), dtype=np.float64)
        return np.split(scores, np.cumsum([len(line.documents) for line in lines])[:-1])


def cross_encoder(model: str, *, batch_size: int = 32, max_length: int | None = None, device: str | None = None) -> PairTeacher:
    """A sentence-transformers CrossEncoder with one output, a folder or a hub id; scores are logits, before any sigmoid.

    Raises:
        ModelNotFoundError, ModelFormatError: no such model, or one without a trained classification head of one output.
        ConfigError: a maximum length that the model has no positions for.
    """
    config = _transformers_config(model)
    kinds = ", ".join(config.architectures or ["none named"])
    if "ForSequenceClassification" not in kinds or config.num_labels != 1:
        raise ModelFormatError(
            f"{model} ({kinds}, {config.num_labels} outputs) is not a cross-encoder: expected sequence classification with one output; "
            "T5 rerankers and sparse models are teachers of their own kinds."
        )
    _check_length(model, max_length, config)
    from sentence_transformers import CrossEncoder
    from torch import nn

    network = _loaded(model, lambda: CrossEncoder(model, max_length=max_length, device=device))
    return PairTeacher(
        f"cross-encoder {model}, max_length {max_length}",
        lambda pairs: network.predict(pairs, batch_size=batch_size, activation_fn=nn.Identity(), show_progress_bar=False),
    )


def mono_t5(
    model: str,
    *,
    template: str = MONO_T5_TEMPLATE,
    tokens: tuple[str, str] = MONO_T5_TOKENS,
    batch_size: int = 32,
    max_length: int = 512,
    device: str | None = None,
) -> PairTeacher:
    """A T5 reranker: log probability of the true token against the false one at the first step (monoT5, arXiv 2003.06713).

    Args:
        model: a folder or a hub id.
        template: the prompt that the model was trained with; {query} and {document} are filled in.
        tokens: (false, true) as they stand in its vocabulary.
        batch_size: pairs at a time.
        max_length: tokens of the prompt; the document is cut to fit, never what follows it.
        device: "cpu", "cuda"; by default a GPU if there is one.

    Raises:
        ModelNotFoundError, ModelFormatError: no such model, or not an encoder with a decoder.
        ConfigError: a template without {query} or {document}, or tokens that the vocabulary does not have.
    """
    if "{query}" not in template or "{document}" not in template:
        raise ConfigError(f"the prompt {template!r} must hold {{query}} and {{document}}.")
    if not _transformers_config(model).is_encoder_decoder:
        raise ModelFormatError(f"{model} is not an encoder with a decoder: expected a T5 reranker.")
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = _loaded(model, lambda: AutoTokenizer.from_pretrained(model))
    network = _loaded(model, lambda: AutoModelForSeq2SeqLM.from_pretrained(model)).eval()
    network.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    vocabulary = tokenizer.get_vocab()
    unknown = [token for token in tokens if token not in vocabulary]
    if unknown:
        raise ConfigError(f"{model} has no token {unknown[0]!r}: name the false and the true token that it was trained with.")
    columns = [vocabulary[token] for token in tokens]

    def batch_scores(pairs: Sequence[tuple[str, str]]) -> list[float]:
        prompts = [_fitting_prompt(tokenizer, template, query, document, max_length) for query, document in pairs]
        batch = tokenizer(prompts, padding=True, truncation=True, max_length=max_length, return_tensors="pt").to(network.device)
        start = torch.full((len(prompts), 1), network.config.decoder_start_token_id, device=network.device)
        with torch.inference_mode():
            logits = network(**batch, decoder_input_ids=start).logits[:, 0, columns].float()
        scores: list[float] = logits.log_softmax(dim=-1)[:, 1].tolist()
        return scores

    def scores_of(pairs: list[tuple[str, str]]) -> Scores:
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
        scores = np.empty(len(pairs))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            scores[chosen] = batch_scores([pairs[i] for i in chosen])
        return scores

    return PairTeacher(f"mono-t5 {model}, {template!r}, {tokens}, max_length {max_length}", scores_of)


def _fitting_prompt(tokenizer: Any, template: str, query: str, document: str, max_length: int) -> str:
    """The prompt with as much of the document as fits."""
    prompt = template.replace("{query}", query).replace("{document}", document)
    excess = len(tokenizer(prompt)["input_ids"]) - max_length
    while excess > 0 and document:
        offsets = tokenizer(document, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        document = document[: offsets[-excess][0]] if excess < len(offsets) else ""
        prompt = template.replace("{query}", query).replace("{document}", document)
        excess = len(tokenizer(prompt)["input_ids"]) - max_length
    return prompt


class SparseTeacher:
    """A sparse encoder: self-distillation, or a larger model of the same kind. Scores are dot products."""

    def __init__(self, encoder: Encoder) -> None:
        self.name = f"sparse {encoder.name} {encoder.fingerprint}"
        self._encoder = encoder

    def score(self, lines: Sequence[MinedLine]) -> list[Scores]:
        """Each document once, however many lines have it."""
        texts = list(dict.fromkeys(document for line in lines for document in line.documents))
        vectors = dict(zip(texts, self._encoder.encode_documents(texts), strict=True))
        queries = self._encoder.encode_queries(line.query for line in lines)
        return [np.array([query.dot(vectors[d]) for d in line.documents]) for line, query in zip(lines, queries, strict=True)]


class RunTeacher:
    """Scores that are there already: a TREC run over the ids of the lines."""

    def __init__(self, path: Path) -> None:
        self.name = f"run {hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else path}"
        self._path, self._run = path, read_run(path)

    def score(self, lines: Sequence[MinedLine]) -> list[Scores]:
        """Raises InputFileError for a line without ids and for a pair that the run does not have."""
        return [np.array([self._score(line, doc_id) for doc_id in line.doc_ids or [""]]) for line in lines]

    def _score(self, line: MinedLine, doc_id: str) -> float:
        if line.query_id is None or line.doc_ids is None:
            raise InputFileError(f'{line.label} has no "query_id" or no "doc_ids": a run scores ids, so every line needs them.')
        score = self._run.get(line.query_id, {}).get(doc_id)
        if score is None:
            raise InputFileError(f"{self._path} has no score for document {doc_id!r} of {line.label}: a teacher must score every document.")
        return score


def _transformers_config(model: str) -> Any:
    from transformers import AutoConfig

    return _loaded(model, lambda: AutoConfig.from_pretrained(model))


def _loaded(model: str, load: Callable[[], Any]) -> Any:
    """What `load` gives; what transformers raises for a missing or broken model becomes ours."""
    try:
        return load()
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        if Path(model).expanduser().is_dir():
            raise ModelFormatError(f"{model} cannot be loaded as a teacher ({type(error).__name__}: {reason}).") from error
        raise ModelNotFoundError(
            f"no teacher {model!r}: no such folder, and the hub did not give it ({type(error).__name__}: {reason})."
        ) from error


def _check_length(model: str, max_length: int | None, config: Any) -> None:
    limit = position_limit(config.to_dict(), model) if getattr(config, "max_position_embeddings", None) else None
    if max_length is not None and not 4 <= max_length <= (limit or max_length):
        raise ConfigError(f"max_length is {max_length}: expected at least 4 and at most {limit}, the positions of {model}.")
