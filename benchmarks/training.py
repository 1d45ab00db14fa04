"""Training steps per second and one policy call, against the floor set by their matrix products alone.

    python benchmarks/training.py [--sizes small medium] [--rounds 5] [--batch 16] [--out benchmarks/results/training.json]

Every matrix product that a step or a call runs is written down as it is dispatched (attention as the two products of its
forward pass and the five of its backward pass, a convolution as the product over its unfolded patches), and the same
products are then run bare, one after the other, on operands of the same shapes and precision. The ratio of the two times
says what everything else costs. Both take turns, and CPU time of one thread is counted, so that what else the machine does
weighs on both alike.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from foreact.backbones.mixture import ExpertSize, MixtureOfTransformers
from foreact.contract.context import Window, fake_context, fake_window
from foreact.contract.progress import say, track
from foreact.contract.specs import ActionSpec, CameraSpec, ObservationSpec, StateSpec
from foreact.contract.storage import atomic_write_json
from foreact.couplings.joint import JointGeneration
from foreact.model import WorldActionModel
from foreact.nets.text import HashedWords
from foreact.regimes.chunked import Chunked
from foreact.substrates.pixel_latents import PixelLatents
from foreact.training.feed import Part
from foreact.training.learner import Learner
from foreact.training.parallel import Team, use_threads
from foreact.training.settings import Stage, Training

__all__ = ["main"]

Product = tuple[int, int, int, int, torch.dtype]
"""`count` products (rows, inner) x (inner, columns) of one precision: (count, rows, inner, columns, dtype)."""

SIZES = {"small": (4, 2, 128, 96), "medium": (6, 4, 192, 128), "large": (8, 6, 320, 192)}
"""Depth, heads of 64, width of the video expert and of the action expert."""

OBSERVATION = ObservationSpec(cameras=tuple(CameraSpec(name=name, height=64, width=64) for name in ("corner", "wrist")), rate_hz=10.0,
                              state=StateSpec(names=("x", "y", "z", "gripper"), units=("m", "m", "m", "1")))
ACTION = ActionSpec(names=("dx", "dy", "dz", "gripper"), low=(-1.0,) * 4, high=(1.0,) * 4, rate_hz=10.0, reference="delta",
                    frame="end-effector")


class Products(TorchDispatchMode):
    """Writes down the matrix products that are dispatched while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        match func.overloadpacket.__name__:
            case "mm" | "bmm":
                self._add(args[0].shape, args[1].shape, args[0].dtype)
            case "addmm" | "baddbmm":
                self._add(args[1].shape, args[2].shape, args[1].dtype)
            case "_scaled_dot_product_flash_attention_for_cpu":
                self._attention(args[0], args[1], ("scores", "values"))
            case "_scaled_dot_product_flash_attention_for_cpu_backward":
                self._attention(args[1], args[2], ("scores", "scores", "values", "gradient", "gradient"))
            case "convolution":
                self._convolution(args[1], result)
        return result

    def _add(self, left: torch.Size, right: torch.Size, dtype: torch.dtype) -> None:
        self.found.append((math.prod(left[:-2]), left[-2], left[-1], right[-1], dtype))

    def _attention(self, query: torch.Tensor, key: torch.Tensor, parts: Sequence[str]) -> None:
        batch, heads, rows, width = query.shape
        seen = key.shape[2]
        shapes = {"scores": (rows, width, seen), "values": (rows, seen, width), "gradient": (seen, rows, width)}
        self.found += [(batch * heads, *shapes[part], query.dtype) for part in parts]

    def _convolution(self, weight: torch.Tensor, result: torch.Tensor) -> None:
        rows = result.shape[0] * math.prod(result.shape[2:])
        self.found.append((1, rows, math.prod(weight.shape[1:]), weight.shape[0], weight.dtype))


def bare(products: Sequence[Product]) -> Callable[[], None]:
    """The same products on operands made beforehand."""
    operands = {p: (torch.randn(p[0], p[1], p[2]).to(p[4]), torch.randn(p[0], p[2], p[3]).to(p[4])) for p in dict.fromkeys(products)}
    results = {p: torch.empty(p[0], p[1], p[3], dtype=p[4]) for p in operands}

    def run() -> None:
        for p in products:
            left, right = operands[p]
            if p[0] == 1:
                torch.mm(left[0], right[0], out=results[p][0])
            else:
                torch.bmm(left, right, out=results[p])

    return run


def built(size: str) -> WorldActionModel:
    depth, heads, video, action = SIZES[size]
    experts = (ExpertSize(name="video", width=video), ExpertSize(name="action", width=action))
    torch.manual_seed(0)
    return WorldActionModel.Config(
        substrate=PixelLatents.Config(), text=HashedWords.Config(), regime=Chunked.Config(replan=8),
        backbone=MixtureOfTransformers.Config(depth=depth, heads=heads, head_dim=64, experts=experts),
        coupling=JointGeneration.Config(horizon=16, future_offsets=(8, 16))).build(OBSERVATION, ACTION)


def encoded_window(model: WorldActionModel, batch: int) -> Window:
    """A window as training reads it: frames already encoded, no images."""
    window = fake_window(OBSERVATION, ACTION, horizon=16, future_offsets=(8, 16), batch=batch)
    form = model.substrate.form
    values = torch.randn(batch, 3, form.tokens, form.channels, generator=torch.Generator().manual_seed(0))
    return replace(window, encoded={"view": values[:, :1], "video": values[:, 1:]}, future_images={},
                   context=replace(window.context, images={}))


def step_of(size: str, precision: str, batch: int) -> Callable[[], None]:
    model = built(size)
    training = Training(stages=(Stage(name="joint", train=("video", "action"), steps=1),), batch_size=batch, precision=precision)
    learner, parts = Learner(model, training, torch.device("cpu"), Team(0, 1)), [Part(0, encoded_window(model, batch))]
    return lambda: learner.step(parts, step=0, train=frozenset({"video", "action"}), factor=1e-3) and None


def call_of(size: str, precision: str) -> Callable[[], None]:
    model, context = built(size).eval(), fake_context(OBSERVATION, batch=1)

    def call() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            model.plan(context)

    return call


def compare(work: Callable[[], None], rounds: int) -> dict[str, float]:
    """CPU seconds of `work` and of its products alone, in turns; medians, and the median of the ratios."""
    work()
    with Products() as products:
        work()
    floor = bare(products.found)
    floor()
    pairs = [(cpu_seconds(work), cpu_seconds(floor)) for _ in range(rounds)]
    whole, alone = (statistics.median(column) for column in zip(*pairs, strict=True))
    flop = sum(2 * math.prod(p[:4]) for p in products.found)
    return {"seconds": whole, "floor_seconds": alone, "ratio": statistics.median(a / b for a, b in pairs), "per_second": 1 / whole,
            "products": len(products.found), "gigaflop": flop / 1e9}


def cpu_seconds(work: Callable[[], None]) -> float:
    """Mean over enough repetitions to last a fifth of a second."""
    start, count = time.process_time(), 0
    while count == 0 or time.process_time() - start < 0.2:
        work()
        count += 1
    return (time.process_time() - start) / count


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "training.json")
    options = parser.parse_args(argv)
    use_threads(1, 1)
    rows = []
    cases = [(size, precision, what) for size in options.sizes for precision in options.precisions for what in ("step", "call")]
    for size, precision, what in track(cases, description="training and planning"):
        work = step_of(size, precision, options.batch) if what == "step" else call_of(size, precision)
        parameters = sum(p.numel() for _, p in built(size).parameters_to_train())
        rows.append({"what": what, "size": size, "precision": precision, "parameters": parameters,
                     "batch": options.batch if what == "step" else 1, **compare(work, options.rounds)})
        row = rows[-1]
        say(f"{what:5} {size:7} {precision}  {row['seconds'] * 1e3:8.1f} ms  floor {row['floor_seconds'] * 1e3:8.1f} ms  "
            f"ratio {row['ratio']:.2f}")
    atomic_write_json(options.out, {"torch": torch.__version__, "threads": 1, "clock": "CPU time of the process", "rows": rows})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
