"""Anderson acceleration on linear fixed-point iterations, where it is exact."""
import torch

from mental_averages.dma.solvers import anderson_step


def test_the_first_step_is_the_plain_one():
    x, change = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    assert torch.equal(anderson_step([x], [change]), x + change)


def test_a_linear_iteration_of_n_numbers_is_solved_by_n_differences():
    """g(x) = M x + b, which does not contract; every row has its own b."""
    generator = torch.Generator().manual_seed(0)
    matrix = 1.5 * torch.randn(4, 4, generator=generator, dtype=torch.float64)
    offset = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    x, iterates, changes = torch.zeros(3, 4, dtype=torch.float64), [], []
    for _ in range(6):
        iterates.append(x)
        changes.append(x @ matrix.T + offset - x)
        x = anderson_step(iterates[-5:], changes[-5:])
    expected = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - matrix, offset.T).T
    torch.testing.assert_close(x, expected, rtol=1e-6, atol=1e-8)


def test_anderson_solves_a_linear_problem_in_as_many_steps_as_it_has_dimensions():
    generator = torch.Generator().manual_seed(0)
    matrix = 2 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    shift = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    iterates, changes = [torch.zeros(2, 3, dtype=torch.float64)], []
    for _ in range(4):
        changes.append(iterates[-1] @ matrix + shift - iterates[-1])
        iterates.append(anderson_step(iterates, changes))
    solution = shift @ torch.linalg.inv(torch.eye(3, dtype=torch.float64) - matrix)
    torch.testing.assert_close(iterates[-1], solution, rtol=1e-8, atol=1e-8)


def test_rows_do_not_know_of_each_other():
    generator = torch.Generator().manual_seed(1)
    iterates, changes = ([torch.randn(3, 2, 5, 5, generator=generator) for _ in range(3)] for _ in range(2))
    together = anderson_step(iterates, changes)
    alone = anderson_step([part[1:2] for part in iterates], [part[1:2] for part in changes])
    torch.testing.assert_close(together[1:2], alone)


def test_a_row_that_is_not_finite_does_not_disturb_the_others():
    """LAPACK refuses a whole batch for one NaN."""
    points = torch.tensor([[0.0], [0.0]]), torch.tensor([[1.0], [1.0]])
    changes = [3 - 3 * point for point in points]
    changes[1][0] = torch.nan
    found = anderson_step(list(points), changes)
    assert found[0].isnan() and found[1] == 1
