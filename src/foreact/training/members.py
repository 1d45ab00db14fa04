"""Every class that a saved config may name: all modules of the four axes, imported so that they register themselves."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

__all__ = ["import_members"]

_PACKAGES = ("foreact.substrates", "foreact.backbones", "foreact.couplings", "foreact.regimes", "foreact.nets")


@cache
def import_members() -> None:
    """Heavy optional packages are imported only when a member is built, so this is cheap."""
    for name in _PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(package.__path__, f"{name}."):
            importlib.import_module(module.name)
