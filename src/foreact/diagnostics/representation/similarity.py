"""How alike two representations of the same samples are, whatever turns their axes: linear CKA, debiased.

    CKA(X, Y) = HSIC_1(K, L) / sqrt( HSIC_1(K, K) HSIC_1(L, L) ),    K = X X^T,  L = Y Y^T              (Kornblith et al., 2019)

    HSIC_1(K, L) n (n - 3) = tr(K' L') + (1' K' 1)(1' L' 1) / ((n - 1)(n - 2)) - 2 / (n - 2) 1' K' L' 1   (Song et al., 2012, eq. 5)

K' and L' are K and L with a zero diagonal. Without the correction, features of more channels than samples look alike by chance; with it
independent features give about 0, and may give a little less. It is exact for independent rows; tokens of one frame and frames of one
episode are not. All terms are made in feature space, so that the cost grows with the number of samples, not with its square.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

__all__ = ["cka", "cka_matrix", "without_places"]


def without_places(tokens: Float[np.ndarray, "samples places width"]) -> Float[np.ndarray, "rows width"]:
    """Tokens as rows, the mean of each place taken off: two networks are not alike because both know where a token lies."""
    centred = np.asarray(tokens, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    return centred.reshape(-1, centred.shape[-1])


def cka(x: Float[np.ndarray, "rows width"], y: Float[np.ndarray, "rows other"]) -> float:
    """1 for a turned and scaled copy, about 0 for independent rows; NaN where one of them is constant."""
    return cka_matrix({"x": x, "y": y})[0, 1].item()


def cka_matrix(parts: Mapping[str, Float[np.ndarray, "rows _"]]) -> Float[np.ndarray, "parts parts"]:
    """Of every pair, in the order of `parts`."""
    rows = [_scaled(np.asarray(x, dtype=np.float64)) for x in parts.values()]
    assert len({len(x) for x in rows}) == 1 and len(rows[0]) > 3, [x.shape for x in rows]
    count = len(rows)
    hsic = np.zeros((count, count))
    for i in range(count):
        for j in range(i, count):
            hsic[i, j] = hsic[j, i] = _hsic(rows[i], rows[j])
    own = np.sqrt(np.clip(np.diag(hsic), 0, None))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = hsic / np.outer(own, own)
    return np.where(np.outer(own, own) > 0, found, np.nan)


def _scaled(x: np.ndarray) -> np.ndarray:
    """Centred, which changes nothing but the error of rounding, and of mean square row norm 1."""
    x = x - x.mean(axis=0)
    norm = np.sqrt(np.square(x).sum() / len(x))
    return x / norm if norm > 1e-12 else np.zeros_like(x)


def _hsic(x: np.ndarray, y: np.ndarray) -> float:
    n = len(x)
    k, m = np.square(x).sum(axis=1), np.square(y).sum(axis=1)
    trace = np.square(x.T @ y).sum() - k @ m
    k_rows, m_rows = x @ x.sum(axis=0) - k, y @ y.sum(axis=0) - m
    total = trace + k_rows.sum() * m_rows.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k_rows @ m_rows)
    return float(total / (n * (n - 3)))
