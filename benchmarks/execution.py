"""What precision and compilation cost and give, as ratios to float32 in one run.

    python benchmarks/execution.py [--rounds 5] [--compiled "fast-wam tiny"] [--out benchmarks/results/execution.json]

One plan for one robot, one torch thread, random weights and random pictures. All arrangements take turns, in several rounds, and CPU time
is taken, so that what else the machine does weighs on all alike; the median over rounds counts. time: of float32's. weights: of float32's
bytes in backbone and coupling. error: of the actions, as the norm of the difference over the norm. first_cpu_s: of the first plan, which
compiles. `by rows` is float32 with weights as they lie in training. `wide` is the tiny recipe with its backbone four times as wide.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from foreact.acting.execution import Execution
from foreact.acting.rehearsal import rehearsal
from foreact.contract.axes import SeededNoise
from foreact.contract.config import apply_overrides
from foreact.contract.progress import track
from foreact.contract.storage import atomic_write_json
from foreact.envs.metaworld import MetaWorld
from foreact.model import WorldActionModel
from foreact.nets.by_columns import lay_by_columns
from foreact.recipes.catalogue import recipe

MODELS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "joint tiny": ("joint", "tiny", ()), "fast-wam tiny": ("fast-wam", "tiny", ()),
    "fast-wam wide": ("fast-wam", "tiny", ("backbone.width=768", "backbone.heads=16")),
}
WAYS = {"float32": Execution(), "bfloat16": Execution(precision="bfloat16"), "int8": Execution(precision="int8")}
COMPILED = {"compiled": Execution(compile="default")}


def model(name: str) -> WorldActionModel:
    """Random weights, none of them zero."""
    torch.manual_seed(0)
    of, at, changes = MODELS[name]
    run = recipe(of).run(at)
    shown = MetaWorld.Config(task="drawer-open", size=run.windows.image_size[0])
    made = apply_overrides(run.model, changes).build(*MetaWorld.describe(shown)).eval()
    with torch.no_grad():
        for _, parameter in made.parameters_to_train():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return made.requires_grad_(False)


def size(policy: WorldActionModel) -> int:
    """Bytes of what runs at every denoising step."""
    return sum(x.numel() * x.element_size() for part in (policy.backbone, policy.coupling) for x in part.state_dict().values())


def measured(name: str, rounds: int, compiled: bool) -> list[dict[str, Any]]:
    """One row for each way of computing."""
    rows = model(name)
    plain = copy.deepcopy(rows)
    lay_by_columns(plain)  # as `load_model` does
    context = rehearsal(plain)
    ways = {word: way.prepare(plain) for word, way in (WAYS | (COMPILED if compiled else {})).items()} | {"by rows": rows}
    spent: dict[str, list[float]] = {word: [] for word in ways}
    actions = {}
    for _ in range(rounds + 1):
        for word, policy in ways.items():
            started = time.process_time()
            actions[word] = policy.plan(context, noise=SeededNoise([0])).actions
            spent[word].append(time.process_time() - started)
    middle = {word: statistics.median(times[1:]) for word, times in spent.items()}
    true = actions["float32"]
    return [{"way": f"{name}, {word}", "plan_ms": 1e3 * middle[word], "time": middle[word] / middle["float32"],
             "weights_mb": size(policy) / 2**20, "weights": size(policy) / size(plain),
             "error": ((actions[word] - true).norm() / true.norm()).item(),
             "first_cpu_s": spent[word][0]} for word, policy in ways.items()]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compiled", nargs="*", choices=MODELS, default=["fast-wam tiny"],
                        help="which are compiled as well; it takes minutes")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "execution.json")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = [row for name in track(list(MODELS), description="planning") for row in measured(name, options.rounds, name in options.compiled)]
    report = {"benchmark": "execution", "rounds": options.rounds, "torch_threads": 1, "clock": "CPU time of the process",
              "plans": rows}
    atomic_write_json(options.out, report)
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
