"""The vision transformer is torch's own encoder layers behind patches, a class token and positions."""
import pytest
import torch
from torch import nn

from mental_averages.dma.encoders._vision_transformer import Block, VisionTransformer, attention


def randomised(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.double().eval()


def torchs_layer(block, width, heads):
    layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu", layer_norm_eps=1e-6,
                                       batch_first=True, norm_first=True)
    names = {"self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj.": "attn.proj.", "linear1.": "mlp.fc1.",
             "linear2.": "mlp.fc2.", "norm1.": "norm1.", "norm2.": "norm2."}
    tensors = block.state_dict()
    layer.load_state_dict({f"{name}{part}": tensors[f"{own}{part}"] for name, own in names.items()
                           for part in ("weight", "bias")})
    return layer.double().train()  # in evaluation torch takes a faster way that rounds otherwise


def test_a_block_is_torchs_encoder_layer():
    block, tokens = randomised(Block(8, 2)), torch.randn(3, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(block(tokens), torchs_layer(block, 8, 2)(tokens))


@pytest.mark.parametrize("normalised", [True, False])
def test_the_network_is_its_parts(normalised):
    network = randomised(VisionTransformer(width=8, depth=3, heads=2, patch=4, size=8, normalised=normalised))
    pixels = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    weight, bias = network.patch_embed["proj"].weight.flatten(1), network.patch_embed["proj"].bias
    patches = torch.stack([pixels[:, :, y : y + 4, x : x + 4].flatten(1) @ weight.T + bias
                           for y in (0, 4) for x in (0, 4)], dim=1)  # row by row
    tokens = torch.cat([network.cls_token.expand(2, 1, 8), patches], dim=1) + network.pos_embed
    for block in network.blocks:
        tokens = torchs_layer(block, 8, 2)(tokens)
    if normalised:
        tokens = nn.functional.layer_norm(tokens, (8,), network.norm.weight, network.norm.bias, 1e-6)
    torch.testing.assert_close(network(pixels), tokens)


def test_attention_looks_at_what_the_mask_shows():
    query, key, value = torch.randn(3, 2, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.tensor([[True, True, False, False]])
    torch.testing.assert_close(attention(query, key, value, 3, mask),
                               attention(query, key[:, :2], value[:, :2], 3))
