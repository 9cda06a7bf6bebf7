"""What is saved of the heads is what the package reads, however its matrices lie in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from splade_ptbr_connectors.encoding.concept_heads import RIDGE, DocumentHead, QueryHead, read_heads
from splade_ptbr_connectors.encoding.config import ConceptSettings, OnnxSettings
from training.recipe.concepts import Concepts
from training.words.concepts.directions import Directions
from training.words.concepts.moments import Moments
from training.words.concepts.save import head_tensors

SIZE, WIDTH = 9, 5


@pytest.mark.parametrize("order", ["C", "F"])
def test_heads_are_read_as_they_were_meant(order: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    directions, with_similarity, correlations = (
        np.asarray(rng.normal(size=shape), np.float32, order=order)  # type: ignore[call-overload]
        for shape in ((SIZE, WIDTH), (SIZE, WIDTH), (SIZE, 40))
    )
    correlations = np.asarray(np.corrcoef(correlations), np.float32, order=order)  # type: ignore[call-overload]
    section = Concepts(teacher="-", size=SIZE, top_query=3, top_document=4)
    learned = Directions(directions, np.eye(WIDTH, dtype=np.float32), section)
    moments = Moments(correlations, np.linspace(0.5, 1.5, SIZE, dtype=np.float32), with_similarity)
    centres = rng.random(WIDTH), rng.random(WIDTH)
    save_file(head_tensors(learned, moments, centres), tmp_path / "head.safetensors")
    settings = ConceptSettings(
        size=SIZE,
        dimensions=WIDTH,
        pieces=9,
        max_length=8,
        top_query=3,
        top_document=4,
        scale_query=2.0,
        onnx=OnnxSettings.of_export("0" * 64, "0" * 64),
    )
    heads = read_heads(tmp_path / "head.safetensors", settings)
    document, query = heads["document"], heads["query"]
    assert isinstance(document, DocumentHead) and isinstance(query, QueryHead)
    rounded = {"abs": 0.1}  # half a step of the largest rows, whose numbers reach 10
    assert document.directions == pytest.approx(learned.weight.detach().numpy(), **rounded)
    assert query.with_similarity == pytest.approx(with_similarity, **rounded)
    assert query.ridged == pytest.approx(correlations + RIDGE * np.eye(len(correlations)), **rounded)
    assert document.bias == pytest.approx(learned.bias_document.detach().numpy()) and query.deviations == pytest.approx(moments.deviations)
    assert document.centre == pytest.approx(centres[1], rel=1e-6) and query.centre == pytest.approx(centres[0], rel=1e-6)
