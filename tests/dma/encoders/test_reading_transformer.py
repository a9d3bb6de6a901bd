"""The text transformer is torch's own decoder layers behind words, positions and a norm."""
import pytest
import torch
from torch import nn

from mental_averages.dma.encoders._reading_transformer import ReadingTransformer, padded

SIZES = dict(vocabulary=11, longest=6, width=8, depth=2, heads=2, inner=12, epsilon=1e-12)
TOKENS, MASK = torch.tensor([[3, 5, 7, 0, 0], [1, 2, 3, 4, 5]]), torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])


def network_of(picture_width, seed=0):
    network, generator = ReadingTransformer(**SIZES, picture_width=picture_width), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return network.double().eval()


def torchs_layer(layer):
    """A decoder layer of torch: attention to the text, to the picture, a network, each with a norm of the sum."""
    found = nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0, activation="gelu", layer_norm_eps=1e-12,
                                       batch_first=True)
    own, tensors = layer.state_dict(), {}
    for name, part in (("self_attn", "attention"), ("multihead_attn", "crossattention")):
        for end in ("weight", "bias"):
            tensors[f"{name}.in_proj_{end}"] = torch.cat([own[f"{part}.self.{each}.{end}"]
                                                          for each in ("query", "key", "value")])
            tensors[f"{name}.out_proj.{end}"] = own[f"{part}.output.dense.{end}"]
    for name, part in (("linear1", "intermediate.dense"), ("linear2", "output.dense"),
                       ("norm1", "attention.output.LayerNorm"), ("norm2", "crossattention.output.LayerNorm"),
                       ("norm3", "output.LayerNorm")):
        tensors |= {f"{name}.{end}": own[f"{part}.{end}"] for end in ("weight", "bias")}
    found.load_state_dict(tensors)
    return found.double().train()


def test_the_network_is_torchs_decoder_layers():
    network, picture = network_of(8), torch.randn(2, 4, 8, dtype=torch.float64)
    own = network.embeddings
    states = own["LayerNorm"](own["word_embeddings"].weight[TOKENS] + own["position_embeddings"].weight[:5])
    for layer in network.encoder["layer"]:
        states = torchs_layer(layer)(states, picture, tgt_key_padding_mask=MASK == 0)
    found = network(TOKENS, MASK, picture)
    torch.testing.assert_close(found[MASK.bool()], states[MASK.bool()])


@pytest.mark.parametrize("picture_width", [3, 20])
def test_padding_changes_nothing_and_the_picture_much(picture_width):
    network = network_of(picture_width)
    picture = torch.randn(2, 4, picture_width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = network(TOKENS[:1].expand(2, -1), MASK[:1].expand(2, -1), picture)
    torch.testing.assert_close(found[:, :3], network(TOKENS[:1, :3].expand(2, -1), MASK[:1, :3].expand(2, -1), picture))
    assert (found[0, 0] - found[1, 0]).abs().max() > 1e-3


def test_tokens_are_filled_up():
    tokens, mask = padded(torch.tensor([4, 5, 6]), 5, 9)
    assert tokens.tolist() == [[4, 5, 6, 9, 9]] and mask.tolist() == [[1, 1, 1, 0, 0]]
    assert padded(torch.tensor([4]), 1, 9)[0].tolist() == [[4]]
