"""SparseEmbed equals its definition written as loops; padding, batches and saved folders change nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM

from splade_ptbr_connectors.encoding.torch_model import LexicalChannel, SpladeModel
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError
from training.data.tokens import Tokens
from training.loop.losses import contrastive
from training.models.base import Encoded, detached, stacked
from training.models.sparse_embed import SETTINGS_FILE, WEIGHTS_FILE, SparseEmbedEncoder, common_term_scores, heaviest_terms
from training.recipe.sections import SparseEmbed

VOCABULARY, SIZE = 40, 5
SECTION = SparseEmbed(size=SIZE, terms_query=6, terms_document=12)
CONFIG = SimpleNamespace(pooling="max", activation="log1p_relu", lexical=None)
SEEDS = st.integers(0, 1000)


def bert(seed: int = 0) -> BertForMaskedLM:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.5,
    )
    model = BertForMaskedLM(config)
    torch.nn.init.normal_(model.cls.predictions.bias, std=0.5)
    model.eval()  # type: ignore[no-untyped-call]
    return model


def splade(seed: int = 0) -> SpladeModel:
    return SpladeModel(bert(seed)).eval()


def encoder(seed: int = 0, **options: object) -> SparseEmbedEncoder:
    return SparseEmbedEncoder(splade(seed), SECTION, **options).eval()  # type: ignore[arg-type]


def texts(seed: int, rows: int = 3, length: int = 8) -> Tokens:
    """Rows of different lengths, the longest one first."""
    ids = torch.randint(4, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))
    lengths = torch.tensor([max(2, length - 2 * row) for row in range(rows)])
    mask = (torch.arange(length) < lengths.unsqueeze(1)).long()
    return Tokens(ids * mask, mask)


def settled(encoded: Encoded) -> bool:
    """No two weights of a text are so near to each other that rounding could change their order."""
    weights = encoded["activations"].detach().sort(1, descending=True).values
    return bool(((weights[:, :-1] - weights[:, 1:] > 1e-5) | (weights[:, :-1] == 0)).all())


# -- the definition, as loops ---------------------------------------------------------------------------------------------


def embedding_by_definition(model: SparseEmbedEncoder, hidden: Tensor, mask: Tensor, term: int) -> Tensor:
    """[size] of one term of one text; hidden: [L, H], mask: [L]."""
    kept = [row for row, inside in zip(hidden, mask, strict=True) if inside]
    head = model.splade.head
    logits = torch.stack([row @ head.weight[term] + head.bias[term] for row in kept])
    mean = sum(share * row for share, row in zip(logits.softmax(0), kept, strict=True))
    return torch.relu(model.projection.weight @ mean)


def scores_by_definition(queries: Encoded, documents: Encoded) -> Tensor:
    rows = []
    for query_terms, query_embeddings in zip(queries["terms"].tolist(), queries["embeddings"], strict=True):
        row = []
        for terms, embeddings in zip(documents["terms"].tolist(), documents["embeddings"], strict=True):
            common = [term for term in query_terms if term >= 0 and term in terms]
            row.append(sum((query_embeddings[query_terms.index(t)] @ embeddings[terms.index(t)] for t in common), torch.zeros(())))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def random_side(seed: int, rows: int, count: int, vocabulary: int) -> Encoded:
    """Random terms, some of them missing, and embeddings that are zero where the term is."""
    generator = torch.Generator().manual_seed(seed)
    terms = torch.stack([torch.randperm(vocabulary, generator=generator)[:count] for _ in range(rows)])
    terms = terms.masked_fill(torch.rand(terms.shape, generator=generator) < 0.3, -1)
    embeddings = torch.rand(*terms.shape, SIZE, generator=generator) * (terms >= 0).unsqueeze(2)
    return {"activations": torch.zeros(rows, vocabulary), "terms": terms, "embeddings": embeddings.requires_grad_()}


@given(SEEDS)
@settings(max_examples=15)
def test_embeddings_are_those_of_the_definition(seed: int) -> None:
    """Softmax over tokens (not over terms), of the last hidden states (not of the embedding layer), without the padding."""
    model, tokens = encoder(), texts(seed)
    plain = splade()
    with torch.no_grad():
        encoded, hidden = model.encode_documents(tokens), plain.features(*tokens)
        torch.testing.assert_close(encoded["activations"], plain.activations(*tokens))
        for text, terms in enumerate(encoded["terms"].tolist()):
            for place, term in enumerate(terms):
                expected = torch.zeros(SIZE)
                if term >= 0:
                    expected = embedding_by_definition(model, hidden[text], tokens.attention_mask[text], term)
                torch.testing.assert_close(encoded["embeddings"][text, place], expected, atol=1e-5, rtol=1e-4)


@given(SEEDS)
@settings(max_examples=15)
def test_kept_terms_are_the_heaviest_ones_and_each_side_has_its_number(seed: int) -> None:
    model, tokens = encoder(), texts(seed)
    with torch.no_grad():
        for encoded, count in ((model.encode_queries(tokens), 6), (model.encode_documents(tokens), 12)):
            assert encoded["terms"].shape == (3, count) and encoded["embeddings"].shape == (3, count, SIZE)
            assert encoded["terms"].dtype == torch.int64 and encoded["embeddings"].dtype == torch.float32
            for weights, terms in zip(encoded["activations"].tolist(), encoded["terms"].tolist(), strict=True):
                ranked = sorted((t for t in range(VOCABULARY) if weights[t] > 0), key=lambda t: -weights[t])[:count]
                assert terms == ranked + [-1] * (count - len(ranked))


@given(SEEDS, st.integers(1, 5), st.integers(1, 5), st.integers(1, 8), st.integers(1, 8))
def test_scores_are_those_of_the_definition_with_their_gradients(seed: int, rows: int, columns: int, left: int, right: int) -> None:
    queries, documents = random_side(seed, rows, left, 12), random_side(seed + 1, columns, right, 12)
    both = [queries["embeddings"], documents["embeddings"]]
    found = common_term_scores(queries["terms"], both[0], documents["terms"], both[1])
    expected = scores_by_definition(queries, documents) + 0.0 * (both[0].sum() + both[1].sum())  # a graph without matches too
    torch.testing.assert_close(found, expected)
    weights = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    pairs = (torch.autograd.grad((scores * weights).sum(), both) for scores in (found, expected))
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, theirs)


@given(SEEDS)
@settings(max_examples=15)
def test_scores_of_a_model_are_those_of_the_definition(seed: int) -> None:
    model = encoder()
    with torch.no_grad():
        queries, documents = model(texts(seed, rows=2, length=5), texts(seed + 1, rows=4))
        torch.testing.assert_close(model.scores(queries, documents), scores_by_definition(queries, documents), atol=1e-5, rtol=1e-4)
        sparse = model.auxiliary_scores(queries, documents)
        torch.testing.assert_close(sparse, queries["activations"] @ documents["activations"].t())


def test_nothing_has_the_size_of_the_vocabulary() -> None:
    """Terms of a vocabulary that no tensor could span."""
    terms = torch.tensor([[10**15, 7, -1]])
    embeddings = torch.ones(1, 3, SIZE)
    assert common_term_scores(terms, embeddings, terms.flip(1), embeddings.flip(1)).tolist() == [[2.0 * SIZE]]


# -- empty intersections --------------------------------------------------------------------------------------------------


def test_a_pair_without_a_common_term_scores_zero_and_stays_in_the_loss() -> None:
    """Query 1 shares nothing with either document; dropping it would halve the number of queries of the mean."""
    queries = {"terms": torch.tensor([[1, 2], [8, -1]]), "embeddings": torch.ones(2, 2, 3, requires_grad=True)}
    documents = {"terms": torch.tensor([[2, 1], [3, -1]]), "embeddings": torch.ones(2, 2, 3, requires_grad=True)}
    scores = common_term_scores(queries["terms"], queries["embeddings"], documents["terms"], documents["embeddings"])
    assert scores.tolist() == [[6.0, 0.0], [0.0, 0.0]]
    loss = contrastive(scores, torch.tensor([0, 1]), torch.ones(2, 2, dtype=torch.bool))
    expected = (torch.log1p(torch.tensor(-6.0).exp()) + torch.tensor(2.0).log()) / 2
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("terms", [[[-1, -1]], [[5, -1]]])
def test_batches_without_any_common_term_have_scores_and_gradients_of_zero(terms: list[list[int]]) -> None:
    left, right = torch.ones(1, 2, 3, requires_grad=True), torch.ones(1, 2, 3, requires_grad=True)
    scores = common_term_scores(torch.tensor(terms), left, torch.tensor([[-1, 4]]), right)
    scores.sum().backward()  # type: ignore[no-untyped-call]
    assert scores.tolist() == [[0.0]] and left.grad is not None and not left.grad.any()


def test_a_text_of_padding_only_has_no_terms_and_no_nan() -> None:
    model, tokens = encoder().train(), texts(0)
    mask = tokens.attention_mask.clone()
    mask[1] = 0
    encoded = model.encode_documents(Tokens(tokens.input_ids, mask))
    assert (encoded["terms"][1] == -1).all() and not encoded["embeddings"][1].any()
    model.scores(encoded, encoded).sum().backward()  # type: ignore[no-untyped-call]
    assert model.projection.weight.grad is not None and model.projection.weight.grad.isfinite().all()


# -- padding and batches --------------------------------------------------------------------------------------------------


@given(SEEDS, st.integers(1, 6))
@settings(max_examples=15)
def test_padding_and_what_stands_in_it_change_nothing(seed: int, more: int) -> None:
    model, tokens = encoder(), texts(seed)
    rubbish = torch.randint(4, VOCABULARY, (3, more), generator=torch.Generator().manual_seed(seed + 1))
    ids = torch.where(tokens.attention_mask.bool(), tokens.input_ids, rubbish[:, :1])
    padded = Tokens(torch.cat([ids, rubbish], 1), torch.cat([tokens.attention_mask, torch.zeros_like(rubbish)], 1))
    with torch.no_grad():
        expected, found = model.encode_documents(tokens), model.encode_documents(padded)
        alone = stacked([model.encode_documents(tokens.rows(row, row + 1)) for row in range(3)])
    assume(settled(expected))
    for other in (found, alone):
        assert torch.equal(other["terms"], expected["terms"])
        torch.testing.assert_close(other["embeddings"], expected["embeddings"], atol=1e-5, rtol=1e-4)


# -- gradients ------------------------------------------------------------------------------------------------------------


def test_gradients_reach_the_projection_the_head_and_every_layer() -> None:
    model = encoder().train()
    queries, documents = model(texts(1), texts(1))
    contrastive(model.scores(queries, documents), torch.arange(3), torch.ones(3, 3, dtype=torch.bool)).backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in model.named_parameters()}
    for part in ("projection.weight", "embeddings.word_embeddings", "layer.0.", "layer.1."):
        found = [g for name, g in gradients.items() if part in name and g is not None]
        assert found and any(g.abs().sum() > 0 for g in found), part
    assert all(g.isfinite().all() for g in gradients.values() if g is not None)


@given(SEEDS)
@settings(max_examples=8)
def test_gradients_through_cut_off_representations_are_the_same(seed: int) -> None:
    """As GradCache does it: the loss on leaves, then each half of the texts again with the gradients of its leaves."""
    everyone = torch.ones(4, 4, dtype=torch.bool)
    tokens = (texts(seed, rows=4), texts(seed + 1, rows=4))

    def loss(model: SparseEmbedEncoder, queries: Encoded, documents: Encoded) -> Tensor:
        auxiliary = model.auxiliary_scores(queries, documents)
        assert auxiliary is not None
        return sum((contrastive(s, torch.arange(4), everyone) for s in (model.scores(queries, documents), auxiliary)), torch.zeros(()))

    whole, halves = encoder(), encoder()
    halves.load_state_dict(whole.state_dict())
    loss(whole, *whole(*tokens)).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        first = halves(*tokens)
    assume(all(map(settled, first)))
    leaves = [detached(side, requires_grad=True) for side in first]
    loss(halves, *leaves).backward()  # type: ignore[no-untyped-call]
    for side, encode in ((0, halves.encode_queries), (1, halves.encode_documents)):
        for start in (0, 2):
            again = encode(tokens[side].rows(start, start + 2))
            names = [name for name, leaf in leaves[side].items() if leaf.grad is not None]
            torch.autograd.backward([again[n] for n in names], [leaves[side][n].grad[start : start + 2] for n in names])  # type: ignore[index]
    for (name, one), other in zip(whole.named_parameters(), halves.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, atol=1e-4, rtol=1e-3, msg=name)


def test_training_on_both_scores_tells_texts_apart() -> None:
    model, tokens, everyone = encoder().train(), texts(7, rows=6, length=14), torch.ones(6, 6, dtype=torch.bool)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=3e-3), []
    for _ in range(40):
        queries, documents = model(Tokens(*(part[:, :4] for part in tokens)), tokens)
        auxiliary = model.auxiliary_scores(queries, documents)
        assert auxiliary is not None
        loss = contrastive(model.scores(queries, documents), torch.arange(6), everyone)
        loss = loss + SECTION.sparse_weight * contrastive(auxiliary, torch.arange(6), everyone)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.25 * losses[0]


def test_parameter_groups_hold_every_parameter_once() -> None:
    model = encoder()
    groups = model.parameter_groups()
    assert set(groups) == {"backbone", "embedding"} and groups["embedding"] == [model.projection.weight]
    found = [id(parameter) for group in groups.values() for parameter in group]
    assert sorted(found) == sorted({id(parameter) for parameter in model.parameters()})
    model.splade.head.weight.requires_grad_(False)
    assert all(parameter is not model.splade.head.weight for parameter in model.parameter_groups()["backbone"])


# -- options --------------------------------------------------------------------------------------------------------------


def test_special_terms_have_no_weight_and_no_embedding() -> None:
    everything, tokens = encoder(), texts(3)
    with torch.no_grad():
        terms = everything.encode_documents(tokens)["terms"]
        special = sorted(set(terms[terms >= 0].tolist()))[:4]
        encoded = encoder(special=special).encode_documents(tokens)
    assert not torch.isin(encoded["terms"], torch.tensor(special)).any() and not encoded["activations"][:, special].any()


def test_a_second_logarithm_keeps_the_terms() -> None:
    once, twice, tokens = encoder(), encoder(activation="log1p_log1p_relu"), texts(3)
    with torch.no_grad():
        expected, found = once.encode_documents(tokens), twice.encode_documents(tokens)
    assert torch.equal(found["terms"], expected["terms"])
    torch.testing.assert_close(found["activations"], torch.log1p(expected["activations"]))


def test_more_terms_than_the_vocabulary_are_all_of_them() -> None:
    assert heaviest_terms(torch.tensor([[0.0, 2.0, 3.0]]), 10).tolist() == [[2, 1, -1]]


@pytest.mark.parametrize("name", ["size", "terms_query", "terms_document"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=rf"(?s){name}.*greater than 0"):
        SparseEmbed(**{name: 0})


def test_a_lexical_channel_and_an_unknown_activation_are_refused() -> None:
    lexical = LexicalChannel(torch.ones(VOCABULARY), k1=1.2, b=0.75, average_length=8.0, special_ids=[0])
    with pytest.raises(ConfigError, match="no lexical channel"):
        SparseEmbedEncoder(SpladeModel(bert(), lexical=lexical), SECTION)
    with pytest.raises(ConfigError, match="'relu'; accepted: log1p_relu, log1p_log1p_relu"):
        encoder(activation="relu")


# -- folders --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_a_loaded_model_is_the_saved_one(tmp_path: Path, storage: str) -> None:
    model, tokens = encoder(), texts(5)
    model.round_weights(storage)
    model.save(tmp_path, storage=storage)
    loaded = SparseEmbedEncoder.load(tmp_path, config=CONFIG)
    assert loaded.section == SECTION and not loaded.training
    assert load_file(str(tmp_path / WEIGHTS_FILE))["projection"].dtype == getattr(torch, storage)
    with torch.no_grad():
        for side in ("encode_queries", "encode_documents"):
            expected, found = getattr(model, side)(tokens), getattr(loaded, side)(tokens)
            assert torch.equal(found["terms"], expected["terms"])
            torch.testing.assert_close(found["embeddings"], expected["embeddings"])
            torch.testing.assert_close(found["activations"], expected["activations"])


def test_the_settings_of_a_folder_are_read_from_its_splade_json(tmp_path: Path) -> None:
    encoder().save(tmp_path)
    (tmp_path / "splade.json").write_text(json.dumps({"vocab_size": VOCABULARY, "activation": "log1p_log1p_relu"}), encoding="utf-8")
    assert SparseEmbedEncoder.load(tmp_path).twice
    (tmp_path / "splade.json").unlink()
    with pytest.raises(ModelFormatError, match=r"splade\.json"):
        SparseEmbedEncoder.load(tmp_path)


def _without_projection(folder: Path) -> None:
    save_file({"other": torch.zeros(1)}, str(folder / WEIGHTS_FILE))


def _other_projection(folder: Path) -> None:
    save_file({"projection": torch.zeros(2, 3)}, str(folder / WEIGHTS_FILE))


def _no_safetensors(folder: Path) -> None:
    (folder / WEIGHTS_FILE).write_bytes(b"nothing")


def _no_weights(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()


def _no_settings(folder: Path) -> None:
    (folder / SETTINGS_FILE).unlink()


def _other_settings(folder: Path) -> None:
    (folder / SETTINGS_FILE).write_text('{"size": 5}', encoding="utf-8")


def _text_for_size(folder: Path) -> None:
    values = {"size": "5", "terms_query": 6, "terms_document": 12, "sparse_weight": 0.1}
    (folder / SETTINGS_FILE).write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_projection, "no tensor 'projection'"),
        (_other_projection, r"\[2, 3\], the model needs \[5, 16\]"),
        (_no_safetensors, "cannot be read"),
        (_no_weights, "cannot be read"),
        (_no_settings, "sparse_embed.json"),
        (_other_settings, "expected size, terms_query"),
        (_text_for_size, "sizes of 1 or more"),
    ],
)
def test_damaged_folders_are_refused_by_name(tmp_path: Path, damage: object, message: str) -> None:
    encoder().save(tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(ModelFormatError, match=message):
        SparseEmbedEncoder.load(tmp_path, config=CONFIG)
