"""Nets of `transformers` from small configurations, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torchvision_ops  # noqa: F401  (transformers imports torchvision)
from recipe import Recipe, image, mask, normal, sequence, tokens
from torch import nn

_TEXT = {"vocab_size": 100, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
         "max_position_embeddings": 64}


class Call(nn.Module):
    """A net called by keyword with tensors in a fixed order; the named results as a tuple."""

    def __init__(self, net: nn.Module, names: list[str], results: list[str], **fixed: Any):
        super().__init__()
        self.net, self.names, self.results, self.fixed = net, names, results, fixed

    def forward(self, *tensors):
        found = self.net(**dict(zip(self.names, tensors)), **self.fixed, return_dict=True)
        return tuple(getattr(found, name) for name in self.results)


def _model(config: str, model: str, names: list[str], results: list[str], fixed: dict | None = None,
           **options: Any) -> Callable[[], nn.Module]:
    """A builder: `transformers.CONFIG(**options)` and `transformers.MODEL` of it."""
    def build() -> nn.Module:
        import transformers
        made, kind = getattr(transformers, config)(**options), getattr(transformers, model)
        usual = "sdpa" if getattr(kind, "_supports_sdpa", False) else "eager"
        made._attn_implementation = options.get("attn_implementation", usual)
        return Call(kind(made).eval(), names, results, **(fixed or {}))
    return build


def _encoder(config: str, model: str, results: tuple[str, ...] = ("last_hidden_state",), **options: Any) -> Recipe:
    return sequence(_model(config, model, ["input_ids", "attention_mask"], list(results), **{**_TEXT, **options}),
                    with_mask=True)


def _decoder(config: str, model: str, fixed: dict | None = None, **options: Any) -> Recipe:
    return sequence(_model(config, model, ["input_ids", "attention_mask"], ["logits"], {"use_cache": False, **(fixed or {})},
                           **{**_TEXT, **options}), with_mask=True)


_LLAMA = {"num_key_value_heads": 2, "pad_token_id": 0}
_VISION = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "image_size": 64,
           "patch_size": 16}
_T5 = {"vocab_size": 100, "d_model": 48, "d_kv": 12, "d_ff": 96, "num_layers": 2, "num_heads": 4}
_BART = {"vocab_size": 100, "d_model": 48, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "max_position_embeddings": 64}
_WHISPER = {"vocab_size": 100, "d_model": 48, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
            "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "max_source_positions": 50,
            "max_target_positions": 32, "num_mel_bins": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
            "decoder_start_token_id": 1}
_SPEECH = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "conv_dim": (32, 32),
           "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 16,
           "num_conv_pos_embedding_groups": 4, "mask_time_prob": 0.0, "layerdrop": 0.0}


def _pairs(build: Callable[[], nn.Module], first: str = "input_ids") -> Recipe:
    """An encoder and a decoder in one call: ids for both."""
    def inputs(n: int, length: int, target: int) -> dict[str, Any]:
        return {first: tokens(n, length), "decoder_input_ids": tokens(n, target, seed=1)}
    return Recipe(build, inputs, [{"n": 2, "length": 12, "target": 5}, {"n": 1, "length": 20, "target": 9},
                                  {"n": 3, "length": 6, "target": 2}],
                  {first: {0: "n", 1: "length"}, "decoder_input_ids": {0: "n", 1: "target"}})


def _images(build: Callable[[], nn.Module], size: int = 64) -> Recipe:
    return image(build, size)


class Cached(nn.Module):
    """A decoder that takes one token and the keys and values of those before, and gives logits and all keys and values."""

    def __init__(self, net: nn.Module, layers: int):
        super().__init__()
        self.net, self.layers = net, layers

    def forward(self, input_ids, attention_mask, *past):
        from transformers import DynamicCache
        cache = DynamicCache([(past[2 * i], past[2 * i + 1]) for i in range(self.layers)])
        found = self.net(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True,
                         return_dict=True)
        kept = found.past_key_values
        return (found.logits, *[t for i in range(self.layers) for t in (kept.layers[i].keys, kept.layers[i].values)])


def _cached(config: str, model: str, heads: int = 4, **options: Any) -> Recipe:
    """One step of a decoder with a cache of free length."""
    def build() -> nn.Module:
        import transformers
        made = getattr(transformers, config)(**{**_TEXT, **options})
        return Cached(getattr(transformers, model)(made).eval(), 2)

    def inputs(n: int, past: int) -> dict[str, Any]:
        cache = {f"past_{i}": normal(n, heads, past, 12, seed=i) for i in range(4)}
        return {"input_ids": tokens(n, 1), "attention_mask": mask(1, past + 1)[[0] * n], **cache}
    axes = {"input_ids": {0: "n"}, "attention_mask": {0: "n", 1: "total"},
            **{f"past_{i}": {0: "n", 2: "past"} for i in range(4)}}
    return Recipe(build, inputs, [{"n": 2, "past": 7}, {"n": 1, "past": 12}, {"n": 2, "past": 30}], axes)


NETS = {
    "bert": _encoder("BertConfig", "BertModel", ("last_hidden_state", "pooler_output")),
    "bert_eager": _encoder("BertConfig", "BertModel", attn_implementation="eager"),
    "distilbert": sequence(_model("DistilBertConfig", "DistilBertModel", ["input_ids", "attention_mask"], ["last_hidden_state"],
                                  vocab_size=100, dim=48, n_layers=2, n_heads=4, hidden_dim=96, max_position_embeddings=64),
                           with_mask=True),
    "roberta": _encoder("RobertaConfig", "RobertaModel", pad_token_id=1),
    "albert": _encoder("AlbertConfig", "AlbertModel", embedding_size=24),
    "electra": _encoder("ElectraConfig", "ElectraModel", embedding_size=24),
    "mobilebert": _encoder("MobileBertConfig", "MobileBertModel", intra_bottleneck_size=24, embedding_size=24,
                           true_hidden_size=24, num_feedforward_networks=2),
    "deberta_v2": _encoder("DebertaV2Config", "DebertaV2Model", relative_attention=True, pos_att_type=["p2c", "c2p"],
                           type_vocab_size=0),
    "modernbert": _encoder("ModernBertConfig", "ModernBertModel", pad_token_id=0, bos_token_id=1, eos_token_id=2,
                           cls_token_id=1, sep_token_id=2, reference_compile=False),
    "gpt2": _decoder("GPT2Config", "GPT2LMHeadModel", n_embd=48, n_layer=2, n_head=4, n_positions=64, bos_token_id=1,
                     eos_token_id=2),
    "gpt_neox": _decoder("GPTNeoXConfig", "GPTNeoXForCausalLM", bos_token_id=1, eos_token_id=2),
    "llama": _decoder("LlamaConfig", "LlamaForCausalLM", **_LLAMA),
    "qwen2": _decoder("Qwen2Config", "Qwen2ForCausalLM", **_LLAMA),
    "mistral": _decoder("MistralConfig", "MistralForCausalLM", sliding_window=8, **_LLAMA),
    "gemma": _decoder("GemmaConfig", "GemmaForCausalLM", head_dim=12, **_LLAMA),
    "phi": _decoder("PhiConfig", "PhiForCausalLM", bos_token_id=1, eos_token_id=2, pad_token_id=0),
    "opt": _decoder("OPTConfig", "OPTForCausalLM", ffn_dim=96, word_embed_proj_dim=48),
    "bloom": _decoder("BloomConfig", "BloomForCausalLM", n_layer=2, n_head=4),
    "gpt2_cached": _cached("GPT2Config", "GPT2LMHeadModel", n_embd=48, n_layer=2, n_head=4, n_positions=64, bos_token_id=1,
                           eos_token_id=2),
    "llama_cached": _cached("LlamaConfig", "LlamaForCausalLM", heads=2, **_LLAMA),
    "t5_encoder": sequence(_model("T5Config", "T5EncoderModel", ["input_ids", "attention_mask"], ["last_hidden_state"], **_T5),
                           with_mask=True),
    "t5": _pairs(_model("T5Config", "T5ForConditionalGeneration", ["input_ids", "decoder_input_ids"], ["logits"],
                        {"use_cache": False}, **_T5, decoder_start_token_id=0)),
    "bart": _pairs(_model("BartConfig", "BartForConditionalGeneration", ["input_ids", "decoder_input_ids"], ["logits"],
                          {"use_cache": False}, **_BART)),
    "marian": _pairs(_model("MarianConfig", "MarianMTModel", ["input_ids", "decoder_input_ids"], ["logits"],
                            {"use_cache": False}, **_BART, pad_token_id=0, decoder_start_token_id=0)),
    "whisper": Recipe(_model("WhisperConfig", "WhisperForConditionalGeneration", ["input_features", "decoder_input_ids"],
                             ["logits"], {"use_cache": False}, **_WHISPER),
                      lambda n, target: {"input_features": normal(n, 20, 100), "decoder_input_ids": tokens(n, target)},
                      [{"n": 1, "target": 4}, {"n": 2, "target": 7}, {"n": 1, "target": 2}],
                      {"input_features": {0: "n"}, "decoder_input_ids": {0: "n", 1: "target"}}),
    "wav2vec2": Recipe(_model("Wav2Vec2Config", "Wav2Vec2ForCTC", ["input_values"], ["logits"], vocab_size=32, **_SPEECH),
                       lambda n, length: {"input_values": normal(n, length)},
                       [{"n": 1, "length": 800}, {"n": 2, "length": 1200}, {"n": 1, "length": 2000}],
                       {"input_values": {0: "n", 1: "length"}}),
    "hubert": Recipe(_model("HubertConfig", "HubertModel", ["input_values"], ["last_hidden_state"], **_SPEECH),
                     lambda n, length: {"input_values": normal(n, length)},
                     [{"n": 1, "length": 800}, {"n": 2, "length": 1200}, {"n": 1, "length": 2000}],
                     {"input_values": {0: "n", 1: "length"}}),
    "vit": _images(_model("ViTConfig", "ViTModel", ["pixel_values"], ["last_hidden_state", "pooler_output"], **_VISION)),
    "deit": _images(_model("DeiTConfig", "DeiTModel", ["pixel_values"], ["last_hidden_state"], **_VISION)),
    "beit": _images(_model("BeitConfig", "BeitModel", ["pixel_values"], ["last_hidden_state"], use_relative_position_bias=True,
                           **_VISION)),
    "dinov2": _images(_model("Dinov2Config", "Dinov2Model", ["pixel_values"], ["last_hidden_state"],
                             **{**_VISION, "patch_size": 8})),
    "swin": _images(_model("SwinConfig", "SwinModel", ["pixel_values"], ["last_hidden_state"], image_size=64, patch_size=4,
                           embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4)),
    "segformer": image(_model("SegformerConfig", "SegformerForSemanticSegmentation", ["pixel_values"], ["logits"],
                              depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 48, 64], decoder_hidden_size=32, num_labels=5), 64,
                       (1, 2, 1)),
    "convnext": _images(_model("ConvNextConfig", "ConvNextModel", ["pixel_values"], ["last_hidden_state", "pooler_output"],
                               depths=[1, 1, 2, 1], hidden_sizes=[16, 32, 48, 64])),
    "clip_vision": _images(_model("CLIPVisionConfig", "CLIPVisionModelWithProjection", ["pixel_values"], ["image_embeds"],
                                  projection_dim=32, **_VISION)),
    "clip_text": sequence(_model("CLIPTextConfig", "CLIPTextModelWithProjection", ["input_ids", "attention_mask"],
                                 ["text_embeds"], projection_dim=32, eos_token_id=99, bos_token_id=98, pad_token_id=0, **_TEXT),
                          with_mask=True),
    "yolos": _images(_model("YolosConfig", "YolosForObjectDetection", ["pixel_values"], ["logits", "pred_boxes"],
                            **{**_VISION, "image_size": [64, 64]}, num_detection_tokens=10)),
    "detr": _images(_model("DetrConfig", "DetrForObjectDetection", ["pixel_values"], ["logits", "pred_boxes"],
                           d_model=48, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
                           encoder_ffn_dim=96, decoder_ffn_dim=96, num_queries=10, use_timm_backbone=True,
                           use_pretrained_backbone=False, backbone="resnet18"), 96),
    "mamba": sequence(_model("MambaConfig", "MambaForCausalLM", ["input_ids"], ["logits"], {"use_cache": False}, vocab_size=100,
                             hidden_size=32, state_size=8, num_hidden_layers=2), (8, 5, 12), exporters=("l",)),
    "rwkv": sequence(_model("RwkvConfig", "RwkvForCausalLM", ["input_ids"], ["logits"], {"use_cache": False}, vocab_size=100,
                            hidden_size=32, num_hidden_layers=2, attention_hidden_size=32), (8, 8, 8), exporters=("l",)),
}


class EncoderDecoderText(nn.Module):
    """torch's own nn.Transformer, with a causal mask that the net makes."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.embedding = nn.Embedding(100, width)
        self.net = nn.Transformer(width, 4, 2, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(width, 100)

    def forward(self, input_ids, decoder_input_ids):
        length = decoder_input_ids.shape[1]
        causal = torch.triu(torch.full((length, length), float("-inf")), 1)
        return self.head(self.net(self.embedding(input_ids), self.embedding(decoder_input_ids), tgt_mask=causal,
                                  tgt_is_causal=True))


def _encoder_decoder_text() -> nn.Module:
    torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole layer, which no exporter writes
    return EncoderDecoderText()


NETS["nn_transformer"] = _pairs(_encoder_decoder_text)
