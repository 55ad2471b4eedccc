"""Nets of timm, with random weights: families that torchvision lacks."""

from __future__ import annotations

from typing import Any

import torchvision_ops  # noqa: F401  (timm imports torchvision)
from recipe import image

#: Nets whose random weights give scores of attention in the thousands, where the rounding of any layer before decides which
#: key is seen: their projections are made smaller by this factor.
_CALMED = {"visformer_tiny": 0.1}


def _net(name: str) -> Any:
    def build() -> Any:
        import timm
        import torch
        module = timm.create_model(name, pretrained=False, exportable=True)
        with torch.no_grad():
            for own, weights in module.named_parameters():
                if "qkv" in own:
                    weights.mul_(_CALMED.get(name, 1.0))
        return module
    return build


_AT_224 = ("ghostnet_100", "edgenext_xx_small", "efficientformer_l1", "fastvit_t8", "mixer_s32_224", "repvgg_a0", "levit_128s",
           "poolformer_s12", "deit_tiny_patch16_224", "cait_xxs24_224", "pit_ti_224", "resmlp_12_224", "xcit_nano_12_p16_224",
           "tinynet_a", "res2net50_26w_4s", "hrnet_w18_small", "lcnet_050", "mobilenetv4_conv_small", "mobileone_s0",
           "inception_next_tiny", "davit_tiny", "efficientvit_b0", "tiny_vit_5m_224", "rexnet_100", "ese_vovnet19b_dw",
           "skresnet18", "visformer_tiny", "pvt_v2_b0", "convnextv2_atto", "twins_pcpvt_small", "coat_lite_tiny",
           "sequencer2d_s", "eca_nfnet_l0", "dla34", "selecsls42b", "nf_regnet_b0", "gmlp_s16_224", "beit_base_patch16_224")
_AT_256 = ("mobilevit_xxs", "mobilevitv2_050", "botnet26t_256", "halonet26t", "eca_botnext26ts_256", "lambda_resnet26t",
           "swinv2_cr_tiny_ns_224")

#: Nets that one of the exporters refuses.
_ONLY = {"halonet26t": ("d",)}

NETS = {name: image(_net(name), 256 if name in _AT_256 and not name.endswith("_224") else 224, batches=(1, 2),
                    exporters=_ONLY.get(name, ("l", "d"))) for name in (*_AT_224, *_AT_256)}
