"""Networks of 16-bit floats with the feature maps of real models: as many features, and as large ones."""
import torch
from torch import Tensor

LATENT = 64  # numbers of a latent behind each token, a patch of 2 x 2 of 16 channels
# Tokens, width and root mean square of the features that matching meets in real models.
SDXL, SD3, SD3_LATE = (1024, 1280, 11.0), (4096, 1536, 16.0), (4096, 1536, 54.0)


def network(dtype, tokens, width, size, *, shared=False):
    """Features (B, tokens, width) of root mean square `size` of latents z (B, tokens, 64), differentiable twice.

    Every result is kept in `dtype`, forwards and backwards, and sums are in fp32, as on a GPU. `shared`: of latents (B,
    1, 64), which every token reads through weights of its own, so that a backward pass adds up what comes from all of
    them.
    """
    generator = torch.Generator().manual_seed(0)
    inner = torch.randn(LATENT, LATENT, generator=generator) / 8
    outer = torch.randn(width, LATENT, generator=generator) / 8 * size / 1.19
    weights = [weight.to(dtype).float() for weight in (inner, outer)]

    def times(x: Tensor, weight: Tensor) -> Tensor:
        return (x.float() @ weight.T).to(dtype)

    def features(z: Tensor) -> Tensor:
        x = z.to(dtype)
        x = x + torch.tanh(times(x, weights[0]))
        return times(x.expand(-1, tokens, -1) if shared else x, weights[1]).float()

    return features


def problem(tokens, width, size, *, count=1):
    """Starts (count, tokens, 64), and features (tokens, width) that another latent reaches in fp32."""
    latents = torch.randn(count + 1, tokens, LATENT, generator=torch.Generator().manual_seed(1))
    return latents[1:], network(torch.float32, tokens, width, size)(latents[:1])[0]
