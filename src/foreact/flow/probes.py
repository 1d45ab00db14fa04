"""What one set of numbers says of another, measured on rows that the answer was not learnt from.

    R^2 = 1 - sum |y - y_hat|^2 / sum |y - y_bar|^2,    y_bar the mean of the rows learnt from; 1 is all, 0 nothing, below 0 worse

`ridge_score` asks for what is there along straight lines: features and targets are centred, features brought to deviation 1, and
y_hat = x (X'X + lambda n I)^-1 X'y. `nearest_score` asks for whatever is there: y_hat is the mean over the k nearest rows.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["nearest_score", "ridge_score"]


def ridge_score(features: Float[Tensor, "row feature"], targets: Float[Tensor, "row target"], held_features: Float[Tensor, "held feature"],
                held_targets: Float[Tensor, "held target"], *, penalty: float = 1e-3) -> float:
    """R^2 of a linear map on held-out rows, over all targets together."""
    x, y = features.double(), targets.double()
    mean, spread = x.mean(dim=0), x.std(dim=0).clamp(min=1e-9)
    x, held = (x - mean) / spread, (held_features.double() - mean) / spread
    gram = x.T @ x + penalty * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weights = torch.linalg.solve(gram, x.T @ (y - y.mean(dim=0)))
    return _score(held @ weights + y.mean(dim=0), held_targets.double(), y.mean(dim=0))


def nearest_score(features: Float[Tensor, "row feature"], targets: Float[Tensor, "row target"],
                  held_features: Float[Tensor, "held feature"], held_targets: Float[Tensor, "held target"], *, neighbours: int = 8,
                  ) -> float:
    """R^2 of the mean over the nearest rows, by Euclidean distance of features."""
    nearest = torch.cdist(held_features.double(), features.double()).topk(min(neighbours, len(features)), largest=False).indices
    return _score(targets.double()[nearest].mean(dim=1), held_targets.double(), targets.double().mean(dim=0))


def _score(found: Tensor, true: Tensor, usual: Tensor) -> float:
    return float(1 - (true - found).square().sum() / (true - usual).square().sum().clamp(min=1e-12))
