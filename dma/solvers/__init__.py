"""Solvers of  min_z |H(z) - A|^2, each latent alone, and of fixed points."""
from ._adam import Adam, AdamToShare
from ._adam_moments import AdamMoments
from ._anderson import anderson_step
from ._backtracking import Backtracking
from ._best_rows import BestRows
from ._gauss_newton import GaussNewton
from ._lbfgs import LBFGS
from ._solver import Begun, Features, Iterate, IterativeSolver, Match, PastMatch, Solver, iterates_of

__all__ = [
    "LBFGS", "Adam", "AdamMoments", "AdamToShare", "Backtracking", "Begun", "BestRows", "Features", "GaussNewton",
    "Iterate", "IterativeSolver", "Match", "PastMatch", "Solver", "anderson_step", "iterates_of",
]
