"""Small models in the form of the files that DreamSim's and ImageReward's authors publish, with weights that any
machine and library makes alike: the same numbers went into the authors' own packages."""
import json

import torch

WIDTH, DEPTH, PATCH, SIZE = 128, 12, 16, 224  # DreamSim's package reads the twelfth block
LARGE = dict(width=128, depth=3)  # ImageReward's picture side
TEXT = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
        "max_position_embeddings": 40, "layer_norm_eps": 1e-12, "vocab_size": 24, "hidden_act": "gelu",
        "attention_probs_dropout_prob": 0.1, "hidden_dropout_prob": 0.1, "initializer_range": 0.02,
        "type_vocab_size": 2, "pad_token_id": 0, "add_cross_attention": True, "model_type": "bert",
        "architectures": ["BertModel"]}
WORDS = ("[PAD] [UNK] [CLS] [SEP] [MASK] a red heart on the white ground cat with hat and one two three four dogs "
         "in").split()
ADAPTER = {"r": 4, "lora_alpha": 2.0, "lora_dropout": 0.1, "bias": "none", "target_modules": ["qkv"],
           "peft_type": "LORA"}


def noise(number, shape, size):
    """A tensor of uniform noise from -size to size, by sines alone, which differ nowhere."""
    places = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (size * (2 * (43758.5453 * torch.sin(12.9898 * places + 78.233 * number)).frac().abs() - 1)).float().reshape(
        shape)


def filled(shapes):
    """Values for names with shapes: norms near 1, what is added near 0, the rest small."""
    found = {}
    for number, (name, shape) in enumerate(shapes.items()):
        norm = "norm" in name.lower() and name.endswith("weight")
        found[name] = noise(number, shape, 0.15 if name.endswith("weight") and not norm else 0.3) + float(norm)
    return found


def vision_shapes(width, depth, patch=PATCH, size=SIZE, prefix=""):
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 1 + (size // patch) ** 2, width),
              "patch_embed.proj.weight": (width, 3, patch, patch), "patch_embed.proj.bias": (width,)}
    for block in range(depth):
        for name, rows, columns in (("attn.qkv", 3 * width, width), ("attn.proj", width, width),
                                    ("mlp.fc1", 4 * width, width), ("mlp.fc2", width, 4 * width)):
            shapes[f"blocks.{block}.{name}.weight"] = (rows, columns)
            shapes[f"blocks.{block}.{name}.bias"] = (rows,)
        for name in ("norm1", "norm2"):
            shapes |= {f"blocks.{block}.{name}.{part}": (width,) for part in ("weight", "bias")}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    return {prefix + name: shape for name, shape in shapes.items()}


def text_shapes(prefix, seen_width):
    width, inner = TEXT["hidden_size"], TEXT["intermediate_size"]
    shapes = {"embeddings.word_embeddings.weight": (TEXT["vocab_size"], width),
              "embeddings.position_embeddings.weight": (TEXT["max_position_embeddings"], width),
              "embeddings.LayerNorm.weight": (width,), "embeddings.LayerNorm.bias": (width,)}

    def linear(name, rows, columns):
        return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}

    for number in range(TEXT["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        for part, seen in (("attention", width), ("crossattention", seen_width)):
            for name, columns in (("query", width), ("key", seen), ("value", seen)):
                shapes |= linear(f"{layer}.{part}.self.{name}", width, columns)
            shapes |= linear(f"{layer}.{part}.output.dense", width, width)
            shapes |= {f"{layer}.{part}.output.LayerNorm.{each}": (width,) for each in ("weight", "bias")}
        shapes |= linear(f"{layer}.intermediate.dense", inner, width) | linear(f"{layer}.output.dense", width, inner)
        shapes |= {f"{layer}.output.LayerNorm.{each}": (width,) for each in ("weight", "bias")}
    return {prefix + name: shape for name, shape in shapes.items()}


def dino():
    return filled(vision_shapes(WIDTH, DEPTH))


def lora():
    """The adapter's tensors under the names that peft gives them."""
    shapes = {}
    for block in range(DEPTH):
        name = f"base_model.model.extractor_list.0.model.blocks.{block}.attn.qkv.lora"
        shapes |= {f"{name}_A.weight": (ADAPTER["r"], WIDTH), f"{name}_B.weight": (3 * WIDTH, ADAPTER["r"])}
    return filled(shapes)


def image_reward():
    shapes = vision_shapes(**LARGE, prefix="blip.visual_encoder.") | text_shapes("blip.text_encoder.", LARGE["width"])
    for place, rows, columns in ((0, 1024, TEXT["hidden_size"]), (2, 128, 1024), (4, 64, 128), (6, 16, 64), (7, 1, 16)):
        shapes |= {f"mlp.layers.{place}.weight": (rows, columns), f"mlp.layers.{place}.bias": (rows,)}
    unused = {"blip.vision_proj.weight": (8, LARGE["width"]), "blip.vision_proj.bias": (8,)}
    return filled(shapes | unused) | {"blip.text_encoder.embeddings.position_ids": torch.arange(40)[None]}


def write_dreamsim_files(folder):
    """DINO's file and DreamSim's adapter in a folder; their paths."""
    from safetensors.torch import save_file

    adapter = folder / "dino_vitb16_single_lora"
    adapter.mkdir(parents=True)
    torch.save(dino(), folder / "dino_vitbase16_pretrain.pth")
    save_file(lora(), adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps(ADAPTER))
    return folder / "dino_vitbase16_pretrain.pth", adapter


def write_image_reward_files(folder):
    """ImageReward.pt, med_config.json and vocab.txt in a folder; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("ImageReward.pt", "med_config.json", "vocab.txt")]
    torch.save(image_reward(), paths[0])
    paths[1].write_text(json.dumps(TEXT))
    paths[2].write_text("\n".join([*WORDS, ""]))
    return paths


def pixels(count, size=SIZE):
    """Normalised pixels (count, 3, size, size)."""
    return noise(1, (count, 3, size, size), 1.5)
