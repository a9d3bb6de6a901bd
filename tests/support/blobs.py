"""Embeddings in clusters that are known."""
import torch


def blobs(sizes, dimensions=8, separation=12.0, seed=0):
    """Unit Gaussians around the corners of a simplex, shuffled: embeddings (N, D) and true labels (N,)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    values = separation * torch.eye(dimensions)[labels] + torch.randn(len(labels), dimensions, generator=generator)
    shuffled = torch.randperm(len(labels), generator=generator)
    return values[shuffled], labels[shuffled]


def agreement(first, second):
    from sklearn.metrics import adjusted_rand_score

    return adjusted_rand_score(first.tolist(), second.tolist())
