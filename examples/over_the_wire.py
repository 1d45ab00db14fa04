"""Does a late plan matter? Meta-World driven over the wire, by a robot that waits for its plans and by one that goes on meanwhile.

    foreact serve runs/fast
    python examples/over_the_wire.py ws://127.0.0.1:8000 --tasks button-press-topdown window-open --latency 100

A plan costs `--latency` milliseconds of the world's time, however fast the server is: so many control steps go by between a look and the
first action that could follow from it. Both robots have the same model, episodes and latency. The one that waits holds still in these
steps; the other carries out what is left of its last plan, and drops from the new one what is over when it comes.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from foreact.contract.proportions import PairedRates, Rate
from foreact.envs.metaworld import MetaWorld
from foreact_client import AsynchronousPlayer, ChunkPlayer, Client

ROBOTS = {"waits": ChunkPlayer, "goes on": AsynchronousPlayer}


def drive(player: ChunkPlayer | AsynchronousPlayer, world: gymnasium.Env, seed: int) -> dict[str, Any]:
    """One episode: whether it succeeded, and every action that was carried out."""
    player.reset(seed=seed)
    seen, _ = world.reset(seed=seed)
    actions, success, over = [], False, False
    while not (success or over):
        actions.append(np.clip(player.act(lambda seen=seen: asked(seen)), world.action_space.low, world.action_space.high))
        seen, _, success, over, _ = world.step(actions[-1])
    return {"success": bool(success), "steps": len(actions), "held": player.held, "actions": np.stack(actions).tolist()}


def asked(seen: Mapping[str, Any]) -> dict[str, Any]:
    """The observation in the words of the wire."""
    return {"images": seen["images"], "state": seen["state"], "prompt": seen["instruction"]}


def told(robot: str, one: Mapping[str, Any]) -> str:
    return f"{robot}: {'solved' if one['success'] else 'failed'} in {one['steps']:3d} steps, {one['held']:2d} still"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="such as ws://127.0.0.1:8000")
    parser.add_argument("--tasks", nargs="+", default=["button-press-topdown"])
    parser.add_argument("--latency", type=float, default=100.0, help="milliseconds of the world's time that a plan costs (default: 100)")
    parser.add_argument("--seeds", type=int, default=4, help="episodes of each task (default: 4)")
    parser.add_argument("--first-seed", type=int, default=700_000)
    parser.add_argument("--horizon", type=int, default=120, help="control steps until time is over (default: 120)")
    parser.add_argument("--out", type=Path, help="write every episode to this JSON file")
    chosen = parser.parse_args()

    episodes: list[dict[str, Any]] = []
    with Client(chosen.address) as client:
        about = client.metadata
        size, rate = about["observation"]["cameras"][0]["height"], about["action"]["rate_hz"]
        latency = math.ceil(chosen.latency * rate / 1000 - 1e-9)
        players = {robot: made(client, latency=latency) for robot, made in ROBOTS.items()}
        print(f"{about['model']}: plans of {about['horizon']} actions, a look after {about['replan']}; "
              f"{chosen.latency:g} ms are {latency} steps at {rate:g} Hz", flush=True)
        for task in chosen.tasks:
            world = MetaWorld.Config(task=task, size=size, horizon=chosen.horizon).build()
            for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
                both = {robot: drive(player, world, seed) for robot, player in players.items()}
                episodes += [{"task": task, "seed": seed, "robot": robot, **one} for robot, one in both.items()]
                print(f"{task} {seed}  " + "  ".join(told(robot, one) for robot, one in both.items()), flush=True)
            world.close()

    outcomes = {robot: [one["success"] for one in episodes if one["robot"] == robot] for robot in ROBOTS}
    for robot, solved in outcomes.items():
        found = Rate.of(solved)
        low, high = found.interval
        print(f"{robot}: {found.successes} of {found.n} solved, {100 * low:.0f} to {100 * high:.0f} %")
    pairs = PairedRates.of(list(zip(outcomes["goes on"], outcomes["waits"], strict=True)))
    print(f"going on against waiting: {100 * pairs.difference:+.0f} points, p = {pairs.p_value:.2g} (exact McNemar)")
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({"latency_ms": chosen.latency, "latency_steps": latency, "horizon": chosen.horizon,
                                          "episodes": episodes}))


if __name__ == "__main__":
    main()
