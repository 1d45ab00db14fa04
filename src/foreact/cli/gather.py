"""What a report shows beside what lies in the run folders: parameter counts, the recipe's card, the machine."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from foreact import __version__
from foreact.recipes import catalogue
from foreact.recipes.recipe import parameters
from foreact.reporting import ReportInputs, read_inputs
from foreact.training.checkpoint import load_run, load_specs
from foreact.training.run import Run

__all__ = ["gather"]

_PACKAGES = ("torch", "mujoco", "metaworld", "numpy", "gymnasium", "av")


def gather(run: Path, *, baseline: Path | None = None, evaluations: Sequence[str] | None = None, title: str = "",
           phases: Mapping[str, float] | None = None, commands: Sequence[str] = ()) -> ReportInputs:
    """The inputs of the report of `run`; `evaluations`: their names, by default all finished ones."""
    config = load_run(run)
    return read_inputs(
        run, baseline=baseline, title=title, name=config.recipe, baseline_name=f"{config.recipe} without future",
        evaluations=evaluations, parameters=(_parameters(run), None if baseline is None else _parameters(baseline)), phases=phases,
        card=_card(config), machine=_machine(), commands=commands, written=date.today().strftime("%d %B %Y").lstrip("0"))


def _parameters(run: Path) -> int:
    return sum(parameters(load_run(run).model, *load_specs(run)).values())


def _card(run: Run) -> dict[str, str]:
    if run.recipe not in catalogue.names():
        return {}
    card = catalogue.recipe(run.recipe).card
    paper = f"{card.paper} ({card.year}){f', arXiv:{card.arxiv}' if card.arxiv else ''}"
    return {"Recipe": f"{run.recipe} ({run.size}): {card.title}", "Paper": paper, "Idea": card.philosophy,
            "Differs from it": " ".join(card.deviations)}


def _machine() -> dict[str, str]:
    import torch

    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}", "foreact": __version__,
             "processor": _processor(), "torch threads": str(torch.get_num_threads())}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def _processor() -> str:
    """The processor's own name where the system tells it."""
    if sys.platform == "linux":
        names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                 if line.startswith("model name")]
        if names:
            return f"{names[0]}, {len(names)} cores"
    return platform.processor() or platform.machine()
