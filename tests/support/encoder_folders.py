"""Encoders of random weights, written as folders in the format of the transformers library."""
import json

import torch

VISION = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32,
              patch_size=8)
TEXT = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=12)
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] what is the skin tone ? dark light medium yes no [DEC] [ENC]".split()


def write_network(folder, network, processor):
    """Larger random weights than the library's, so that pictures differ clearly."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + norm)
            if name == "text_decoder.cls.predictions.bias":
                parameter[[0, 1, 2, 4, 16, 17]] = -100.0  # answers in words
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_vocabulary(folder, merges):
    """A CLIP's vocab.json and merges.txt; returns how many tokens there are."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), "<|startoftext|>",
              "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}),
                                       encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges), ""]), encoding="utf-8")
    return len(tokens)


def write_clip(folder):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

    last = write_vocabulary(folder, []) - 1
    CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()  # some versions of the library write them, some do not
    text = {**TEXT, "vocab_size": last + 1, "bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": last}
    return write_network(folder, CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)),
                         CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}))


def write_clip_vision(folder):
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    return write_network(folder, CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION, projection_dim=8)),
                         CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}))


def write_siglip(folder):
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    text = {**TEXT, "vocab_size": 30, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "projection_size": 16}
    return write_network(folder, SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)),
                         SiglipImageProcessor(size={"height": 32, "width": 32}))


def write_siglip_vision(folder):
    from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

    return write_network(folder, SiglipVisionModel(SiglipVisionConfig(**VISION)),
                         SiglipImageProcessor(size={"height": 32, "width": 32}))


def write_dinov2(folder, kind="Dinov2"):
    import transformers

    config = getattr(transformers, f"{kind}Config")(hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                                                    image_size=28, patch_size=14)
    return write_network(folder, getattr(transformers, f"{kind}Model")(config),
                         transformers.BitImageProcessor(size={"shortest_edge": 32},
                                                        crop_size={"height": 28, "width": 28}))


def write_dinov2_with_registers(folder):
    return write_dinov2(folder, "Dinov2WithRegisters")


def write_blip(folder):
    from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering, BlipImageProcessor

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join([*WORDS, ""]))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    text = {**TEXT, "vocab_size": len(WORDS), "encoder_hidden_size": 16, "bos_token_id": WORDS.index("[DEC]"),
            "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0}
    return write_network(folder,
                         BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=VISION, projection_dim=8)),
                         BlipImageProcessor(size={"height": 32, "width": 32}))


WRITERS = {"clip": write_clip, "clip_vision_model": write_clip_vision, "siglip": write_siglip,
           "siglip_vision_model": write_siglip_vision, "dinov2": write_dinov2,
           "dinov2_with_registers": write_dinov2_with_registers, "blip": write_blip}
