"""Hidden states as pictures: their first three principal components as colours, and t-SNE of tokens.

Both are drawn, not measured: colours say which places a network holds to be alike, their hues mean nothing from one network to another.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from foreact.diagnostics.manifold.separability import embed
from foreact.diagnostics.scikit import scikit

__all__ = ["even_tokens", "principal_colours", "token_map"]


def principal_colours(tokens: Float[np.ndarray, "samples places width"]) -> tuple[Float[np.ndarray, "samples places 3"], list[float]]:
    """In [0, 1], and what share of the variance each component holds; each is spread over its 2nd to 98th percentile."""
    rows = np.asarray(tokens, dtype=np.float64).reshape(-1, tokens.shape[-1])
    model = scikit("decomposition", purpose="drawing hidden states").PCA(n_components=min(3, *rows.shape), svd_solver="covariance_eigh")
    found = np.zeros((len(rows), 3))
    projected = model.fit_transform(rows)
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
