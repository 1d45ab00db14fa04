"""Evaluation episodes per minute with 1, 2 and 8 environments, as ratios in one run.

    python benchmarks/evaluation.py [--seeds 8] [--horizon 80] [--out benchmarks/results/evaluation.json]

One process, one torch thread, the same episodes every time. The weights are random, so that no episode ends early and each
costs the same. The arrangements take turns, in several rounds, so that what else the machine does weighs on all alike.
CPU time is the honest figure on a shared machine. Beside them: plans one at a time (`lanes=1`), as without batching.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from foreact.backbones.mixture import MixtureOfTransformers
from foreact.contract.progress import track
from foreact.contract.storage import atomic_write_json
from foreact.couplings.joint import JointGeneration
from foreact.envs.metaworld import MetaWorld
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.rollout import EpisodeRecord
from foreact.model import WorldActionModel
from foreact.nets.text import HashedWords
from foreact.regimes.chunked import Chunked
from foreact.substrates.pixel_latents import PixelLatents

ARRANGEMENTS = {"1 environment, plans alone": (1, 1), "1 environment": (1, 4), "2 environments": (2, 4), "8 environments": (8, 4)}
"""(envs, lanes); the first is what the others are compared with."""


def model(environment: MetaWorld.Config) -> WorldActionModel:
    """A joint model of the default sizes with random weights."""
    config = WorldActionModel.Config(
        substrate=PixelLatents.Config(), text=HashedWords.Config(), backbone=MixtureOfTransformers.Config(),
        coupling=JointGeneration.Config(), regime=Chunked.Config())
    probe = environment.build()
    built = config.build(*probe.specs)
    probe.close()
    return built.eval()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="episodes of each arrangement and round")
    parser.add_argument("--horizon", type=int, default=80, help="control steps of an episode")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "evaluation.json")
    options = parser.parse_args(argv)
    environment = MetaWorld.Config(task="drawer-open", horizon=options.horizon)
    torch.manual_seed(0)
    policy = model(environment)
    cpu: dict[str, list[float]] = {name: [] for name in ARRANGEMENTS}
    wall: dict[str, list[float]] = {name: [] for name in ARRANGEMENTS}
    found: dict[str, list[dict]] = {}
    order = [name for _ in range(options.rounds) for name in ARRANGEMENTS]
    for name in track(order, description="evaluating"):
        envs, lanes = ARRANGEMENTS[name]
        config = EvaluationConfig(environment=environment, seeds_per_task=options.seeds, envs=envs, lanes=lanes)
        started = time.process_time(), time.perf_counter()
        episodes: tuple[EpisodeRecord, ...] = evaluate(policy, config).episodes
        cpu[name].append(time.process_time() - started[0])
        wall[name].append(time.perf_counter() - started[1])
        found[name] = [record.outcome for record in episodes]
    assert found["1 environment"] == found["2 environments"] == found["8 environments"], "the number of environments changed a result"
    first = min(cpu[next(iter(ARRANGEMENTS))])
    rows = {name: {"envs": ARRANGEMENTS[name][0], "lanes": ARRANGEMENTS[name][1],
                   "episodes_per_cpu_minute": 60 * options.seeds / min(cpu[name]),
                   "episodes_per_minute": 60 * options.seeds / min(wall[name]),
                   "median_cpu_seconds": statistics.median(cpu[name]), "ratio": first / min(cpu[name])} for name in ARRANGEMENTS}
    report = {"benchmark": "evaluation", "episodes": options.seeds, "steps": options.horizon, "rounds": options.rounds,
              "parameters": sum(p.numel() for p in policy.parameters()), "torch_threads": 1, "arrangements": rows}
    atomic_write_json(options.out, report)
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
