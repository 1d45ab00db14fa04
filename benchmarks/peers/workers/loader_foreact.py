"""foreact's windows from the same files, as many at a time and in random order too.

Cases: "decoding", every picture decoded from the videos when it is asked for, as LeRobot does; "frame store", read from the pictures that
were decoded once, before. In both pictures end as float32 between 0 and 1, as LeRobot gives them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from wire import Built, serve

from foreact.data.cache import Cache
from foreact.data.lerobot import Dataset
from foreact.data.stores import DecodedFrames, FrameStore
from foreact.data.windows import Offsets, Windows


def build(case: str, size: dict[str, Any]) -> Built:
    torch.set_num_threads(size["threads"])
    dataset = Dataset.open(size["dataset"])
    offsets = Offsets(horizon=size["horizon"], history=tuple(size["history"]), future=tuple(size["future"]))
    started = time.process_time()
    frames = FrameStore(dataset, cache=Cache(size["cache"])) if case == "frame store" else DecodedFrames(dataset)
    before = time.process_time() - started
    windows = Windows(dataset, offsets, frames=frames)

    def batch(rows: np.ndarray) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        window = windows.batch(rows)
        pictures = {name: torch.cat([images, window.future_images[name]], dim=1).float().div_(255)
                    for name, images in window.context.images.items()}
        return pictures, window.actions

    order = shuffled(len(windows), size["batch"])
    pictures, actions = batch(np.array(size["checked"]))
    cameras = sorted(pictures, key=lambda name: dataset.camera_key(name))
    megabytes = sum(file.stat().st_size for file in Path(size["cache"]).rglob("*.u8")) / 1e6 if case == "frame store" else 0.0
    return lambda: batch(next(order)), {
        "pictures": torch.stack([pictures[name].mean(dim=(2, 3, 4)) for name in cameras], dim=1).flatten().tolist(),
        "actions": actions.double().mean(dim=(1, 2)).tolist(), "before": round(before, 3), "megabytes": round(megabytes, 1)}


def shuffled(count: int, batch: int) -> Iterator[np.ndarray]:
    """Indices by the batch, in a new order each time that all were drawn."""
    g = np.random.default_rng(0)
    for _ in itertools.count():
        order = g.permutation(count)
        yield from (order[i:i + batch] for i in range(0, count - batch + 1, batch))


if __name__ == "__main__":
    serve(build)
