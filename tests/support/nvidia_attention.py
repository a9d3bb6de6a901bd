"""Core's attention as it is on NVIDIA cards: a choice of kernels of its own at every call, around which any other is
without effect. CPUs have a fused kernel without a second derivative, too."""
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

PRIORITY = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def own_choice(q, k, v, *arguments, **options):
    with sdpa_kernel(PRIORITY, set_priority=True):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, *arguments, **options)
