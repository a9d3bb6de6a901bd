"""Solvers of  min_z |H(z) - A|^2, each latent alone, and of fixed points."""
from ._adam import Adam
from ._anderson import anderson_step
from ._gauss_newton import GaussNewton
from ._lbfgs import LBFGS
from ._solver import Match, Solver

__all__ = ["LBFGS", "Adam", "GaussNewton", "Match", "Solver", "anderson_step"]
