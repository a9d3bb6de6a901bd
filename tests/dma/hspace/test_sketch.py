import torch

from mental_averages.dma import hspace


def test_sketch_is_linear_and_keeps_inner_products_in_the_mean():
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn(2, 3, 10, 10, generator=generator, dtype=torch.float64)
    rows[1] += 0.5 * rows[0]
    flat = rows.flatten(1)
    sketched = torch.stack([hspace.Sketch(31, seed)(rows) for seed in range(2000)])  # (seeds, 2, 31)
    products = sketched @ sketched.transpose(1, 2)
    expected, error = flat @ flat.T, products.std(0) / len(products) ** 0.5
    assert ((products.mean(0) - expected).abs() < 4 * error).all()
    bound = flat.norm(dim=1)[:, None] * flat.norm(dim=1)[None] * (2 / 31) ** 0.5
    assert (products.std(0) < 1.2 * bound).all()
    sketch = hspace.Sketch(31)
    torch.testing.assert_close(sketch(rows[:1] + 2 * rows[1:]), sketch(rows[:1]) + 2 * sketch(rows[1:]))
    assert torch.equal(hspace.Sketch(300)(rows), flat), "short features stay as they are"
    assert torch.equal(hspace.Sketch(31, seed=5)(rows), hspace.Sketch(31, seed=5)(rows))


def test_one_sketch_serves_features_of_several_sizes():
    sketch = hspace.Sketch(31, seed=5)
    for size in (100, 62, 31, 100):
        rows = torch.randn(2, size, generator=torch.Generator().manual_seed(size))
        assert sketch(rows).shape == (2, 31) and torch.equal(sketch(rows), hspace.Sketch(31, seed=5)(rows))
