"""Adam's rule against PyTorch's, row by row."""
import torch

from mental_averages.dma.solvers import AdamMoments


def test_moves_are_those_of_torch_adam():
    generator = torch.Generator().manual_seed(0)
    reference = torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([reference], lr=0.1, betas=(0.8, 0.95), eps=1e-3)
    ours = reference.detach().clone()
    moments = AdamMoments(ours, beta1=0.8, beta2=0.95, epsilon=1e-3)
    for _ in range(20):
        reference.grad = torch.randn(3, 5, generator=generator, dtype=torch.float64)
        optimiser.step()
        ours = ours - moments.step(reference.grad, 0.1)
        torch.testing.assert_close(ours, reference.detach(), rtol=1e-12, atol=1e-12)


def test_rows_that_stay_move_as_they_do_alone():
    gradients = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    together, alone = AdamMoments(torch.zeros(3, 5)), AdamMoments(torch.zeros(1, 5))
    together.step(gradients[0], 0.1)
    together.keep(torch.tensor([False, True, False]))
    alone.step(gradients[0, 1:2], 0.1)
    assert torch.equal(together.step(gradients[1, 1:2], 0.1), alone.step(gradients[1, 1:2], 0.1))
