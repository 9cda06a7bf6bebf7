"""Any masked language model: the activations of each family against its own logits, pooled naively."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForMaskedLM

from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.torch_model import SpladeModel

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 120, "pad_token_id": 0}
FAMILIES = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "camembert": {},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    "deberta-v2": {},
    "mpnet": {},
    "modernbert": {"global_attn_every_n_layers": 1, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_activations_equal_the_pooled_logits(family: str, tmp_path: Path) -> None:
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **SMALL | {"max_position_embeddings": 40} | FAMILIES[family])
    model = AutoModelForMaskedLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.5)  # an output bias that is lost would otherwise not show
    model.save_pretrained(tmp_path)
    ids, mask = torch.randint(3, 120, (3, 9)), torch.ones(3, 9, dtype=torch.long)
    ids[1, 5:], mask[1, 5:] = 0, 0
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits
        expected = torch.log1p(torch.relu(logits.masked_fill(mask[..., None] == 0, -torch.inf).amax(1)))
        actual = SpladeModel.from_folder(tmp_path, EncoderConfig(vocab_size=120)).activations(ids, mask)
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)
