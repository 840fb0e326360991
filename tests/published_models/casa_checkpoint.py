"""A tiny random CASA checkpoint on disk, with the code in ``casa_code`` beside its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from tests.backbones.checkpoints import bpe
from tests.published_models.casa_code.configuration_own import OwnConfig
from tests.published_models.casa_code.modeling_own import OwnModel

CODE = Path(__file__).parent / "casa_code"
TEXTS = ["what digit is red", "which colour is it", "red green blue yellow", "user assistant system helpful"]
TOKENS = ("<turn>", "<end>", "<image>", "</image>")
PIECES = {
    "start": "<s>",
    "system": "<turn>system ",
    "user": "<turn>user ",
    "pre": "<image>",
    "post": "</image>",
    "end": "<end>",
    "assistant": "<turn>assistant ",
}
MAPS = {
    "AutoConfig": "configuration_own.OwnConfig",
    "AutoModel": "modeling_own.OwnModel",
    "AutoProcessor": "processing_own.OwnProcessor",
}
IMAGE_SIZE = 56


def write_casa(folder: Path, model_type: str = OwnConfig.model_type, **settings: Any) -> None:
    """Config, weights, tokenizer, processor settings and code; ``settings`` are the config's."""
    tokenizer = bpe(TEXTS)
    tokenizer.add_special_tokens(list(TOKENS))
    of = tokenizer.get_vocab()
    config = OwnConfig(
        vocab_size=len(of),
        pre_image_tokens=(of["<image>"],),
        post_image_tokens=(of["</image>"],),
        bos_token_id=of["<s>"],
        eos_token_id=of["</s>"],
        **settings,
    )
    torch.manual_seed(0)
    OwnModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    ).save_pretrained(folder)
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**document, "model_type": model_type, "auto_map": MAPS}))
    processor = {
        "image_size": IMAGE_SIZE,
        "pieces": PIECES,
        "auto_map": {"AutoProcessor": MAPS["AutoProcessor"]},
    }
    (folder / "processor_config.json").write_text(json.dumps(processor))
    for path in CODE.glob("*_own.py"):
        (folder / path.name).write_text(path.read_text().replace(OwnConfig.model_type, model_type))
