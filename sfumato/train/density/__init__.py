"""Strategies that decide where Gaussians are: adaptive control and a Markov chain."""

from sfumato.train.density.adaptive import Adaptive
from sfumato.train.density.mcmc import MCMC
from sfumato.train.density.strategy import Density, Span, Strategy

__all__ = ["MCMC", "Adaptive", "Density", "Span", "Strategy"]
