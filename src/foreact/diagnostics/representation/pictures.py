"""Hidden states as pictures: their first three principal components as colours, and t-SNE of tokens.

Both are drawn, not measured: colours say which places a network holds to be alike, their hues mean nothing from one network to another.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from foreact.diagnostics.manifold.separability import embed
from foreact.diagnostics.scikit import scikit

__all__ = ["even_tokens", "principal_colours", "token_map"]


def principal_colours(tokens: Float[np.ndarray, "samples places width"], *, cameras: int = 1,
                      ) -> tuple[Float[np.ndarray, "samples places 3"], list[list[float]]]:
    """In [0, 1], camera by camera, and what share of the variance each component holds. The mean of each frame is taken off, which says
    which frame it is and not where in it; each component is spread over its 2nd to 98th percentile."""
    drawn = [_colours(part) for part in np.split(np.asarray(tokens, dtype=np.float64), cameras, axis=1)]
    return np.concatenate([colours for colours, _ in drawn], axis=1), [shares for _, shares in drawn]


def _colours(tokens: np.ndarray) -> tuple[np.ndarray, list[float]]:
    rows = (tokens - tokens.mean(axis=1, keepdims=True)).reshape(-1, tokens.shape[-1])
    model = scikit("decomposition", purpose="drawing hidden states").PCA(n_components=min(3, *rows.shape), svd_solver="covariance_eigh")
    projected, found = model.fit_transform(rows), np.zeros((len(rows), 3))
    low, high = np.quantile(projected, [0.02, 0.98], axis=0)
    found[:, :projected.shape[1]] = np.clip((projected - low) / np.maximum(high - low, 1e-12), 0, 1)
    return found.reshape(*tokens.shape[:2], 3), [float(share) for share in model.explained_variance_ratio_]


def even_tokens(labels: Int[np.ndarray, "samples places"], *, most: int = 900, seed: int = 0) -> Int[np.ndarray, " rows"]:
    """Rows of tokens, as many of every class where there are so many: else background would hide the rest."""
    flat, draw = labels.reshape(-1), np.random.default_rng(seed)
    kinds = np.unique(flat)
    chosen = [draw.permutation(np.flatnonzero(flat == kind))[:most // len(kinds)] for kind in kinds]
    return np.sort(np.concatenate(chosen))


def token_map(tokens: Float[np.ndarray, "samples places width"], rows: Int[np.ndarray, " rows"], *, seed: int = 0,
              ) -> tuple[Float[np.ndarray, "rows 2"], float]:
    """t-SNE of some tokens after 30 principal components, and its perplexity."""
    x = np.asarray(tokens, dtype=np.float64).reshape(-1, tokens.shape[-1])[rows]
    x = x - x.mean(axis=0)
    _, _, axes = np.linalg.svd(x, full_matrices=False)
    return embed(x @ axes[:30].T, perplexity=30.0, seed=seed)
