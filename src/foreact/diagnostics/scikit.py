"""scikit-learn, where a diagnosis asks for it."""

from __future__ import annotations

import importlib
from typing import Any

from foreact.contract.errors import MissingExtraError

__all__ = ["scikit"]


def scikit(name: str, *, purpose: str) -> Any:
    """The module `sklearn.NAME`; raises `MissingExtraError` where it is not installed."""
    try:
        return importlib.import_module(f"sklearn.{name}")
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-learn", "diagnose", purpose) from error
