"""Which family each net of the suite belongs to. No framework is needed to know it, so that any environment can report."""

from __future__ import annotations

import fnmatch

OTHER = "other"

#: Family -> names of nets, with * and ?. A name belongs to the first family that has it.
FAMILIES: dict[str, tuple[str, ...]] = {
    "detection": ("yolo5", "yolo8", "yolos", "detr", "ssdlite320_*", "retinanet_*", "fasterrcnn_*"),
    "segmentation": ("unet", "unet_*", "deeplabv3_*", "fcn_*", "lraspp_*", "segformer"),
    "image to image": ("style", "espcn", "edsr", "dcgan"),
    "audio": ("wavenet", "conv_tasnet", "tcn", "wav2vec2", "hubert", "whisper"),
    "recurrent": ("lstm_*", "bilstm_*", "gru_*", "bigru_*", "rnn_*", "seq2seq", "crnn", "mamba", "mamba_like", "rwkv", "k_lstm",
                  "k_gru", "k_gru_before", "k_bilstm", "k_rnn"),
    "decoder": ("gpt2", "gpt2_cached", "gpt_neox", "llama", "llama_cached", "qwen2", "mistral", "gemma", "phi", "opt", "bloom"),
    "transformer": ("bert", "bert_eager", "distilbert", "roberta", "albert", "electra", "mobilebert", "deberta_v2",
                    "modernbert", "t5", "t5_encoder", "bart", "marian", "nn_transformer", "clip_text", "k_attention"),
    "vision transformer": ("vit", "vit_*", "deit", "deit_*", "beit", "beit_*", "dinov2", "swin", "swin_*", "swinv2_*",
                           "maxvit_*", "clip_vision", "cait_*", "pit_*", "xcit_*", "levit_*", "davit_*", "tiny_vit_*",
                           "twins_*", "coat_*", "pvt_*", "visformer_*", "mobilevit_*", "mobilevitv2_*",
                           "efficientvit_*", "efficientformer_*", "edgenext_*", "mixer_*", "gmlp_*", "resmlp_*",
                           "sequencer2d_*", "poolformer_*", "botnet26t_*", "halonet26t", "lambda_resnet26t",
                           "eca_botnext26ts_*", "fastvit_*"),
    "classification": ("alexnet", "vgg*", "resnet*", "resnext*", "densenet*", "squeezenet*", "googlenet", "inception_*",
                       "mobilenet*", "mnasnet*", "shufflenet_*", "efficientnet_*", "regnet_*", "convnext", "convnext_*",
                       "convnextv2_*", "ghostnet_*", "repvgg_*", "tinynet_*", "res2net50_*", "hrnet_*", "lcnet_*",
                       "mobileone_*", "rexnet_*", "ese_vovnet*", "skresnet*", "eca_nfnet_*", "dla34", "selecsls42b",
                       "nf_regnet_*", "k_mobilenet_*", "k_efficientnet_*", "k_nasnet_*", "k_densenet*", "k_xception",
                       "k_resnet*", "k_inception_*"),
    OTHER: ("r3d_18", "s3d", "vae3d", "pointnet", "sampler", "mlp", "k_layers"),
}


#: Word in the name of a file -> its family: these are compared with each other, not with what they were made from.
FORMS = {"qdq": "quantised file", "qop": "quantised file", "dyn": "quantised file", "f16": "float16 file"}


def family_of(file: str) -> str:
    """The family of a net NET or of its file NET.EXPORTER[.FORM]; OTHER for a net that the table does not name."""
    name, *words = file.split(".")
    if len(words) > 1 and words[1] in FORMS:
        return FORMS[words[1]]
    return next((family for family, names in FAMILIES.items() if any(fnmatch.fnmatchcase(name, n) for n in names)), OTHER)


def is_named(net: str) -> bool:
    """Whether the table names a net."""
    name = net.split(".")[0]
    return any(fnmatch.fnmatchcase(name, n) for names in FAMILIES.values() for n in names)
