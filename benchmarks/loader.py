"""How fast windows come: raw decoding against the frame store and the encoding store, in one run.

    python benchmarks/loader.py [--frames 2000] [--size 128] [--batch 64] [--seconds 3] [--out benchmarks/results/loader.json]

Rates are per second of CPU time of this process, because machines are shared; wall time is in the JSON as well.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from foreact.contract.storage import atomic_write_json
from foreact.data.cache import Cache
from foreact.data.lerobot import Dataset, DatasetWriter, Feature
from foreact.data.stores import DecodedFrames, EncodedStore, FrameStore
from foreact.data.windows import Offsets, Windows

CAMERAS = ("front", "wrist")
OFFSETS = Offsets(horizon=16, history=(0,), future=(8, 16))


def pictures(length: int, size: int, episode: int) -> np.ndarray:
    """A moving pattern with edges: (length, size, size, 3)."""
    t, y, x = np.mgrid[0:length, 0:size, 0:size].astype(np.float32)
    wave = 128 + 80 * np.sin((x + 2 * t + 9 * episode) / 11) * np.cos((y - t) / 13)
    block = ((x - 2 * t - 5 * episode) % size < size // 6) & ((y - t) % size < size // 6)
    return np.stack([np.where(block, 230, wave), wave, np.where(block, 20, 255 - wave)], -1).clip(0, 255).astype(np.uint8)


def make_dataset(path: Path, frames: int, size: int, length: int = 100) -> Dataset:
    """`frames` frames in episodes of `length`, two cameras, H.264 as the library writes it."""
    features = {"observation.state": Feature(dtype="float32", shape=(4,)), "action": Feature(dtype="float32", shape=(4,)),
                **{f"observation.images.{name}": Feature(dtype="video", shape=(size, size, 3)) for name in CAMERAS}}
    with DatasetWriter(path, fps=10, features=features) as writer:
        for episode in range(max(frames // length, 1)):
            numbers = np.random.default_rng(episode).normal(size=(2, length, 4)).astype(np.float32)
            writer.add_episode({"observation.state": numbers[0], "action": numbers[1]}, task="move",
                               images={name: pictures(length, size, episode + 50 * i) for i, name in enumerate(CAMERAS)})
    return Dataset.open(path)


def rate(once: Callable[[], int], seconds: float) -> dict[str, float]:
    """Call `once` (it returns how many things it made) for about `seconds`; things per second of CPU and of wall time."""
    once()
    made, cpu, wall = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - wall < seconds:
        made += once()
    return {"per_cpu_second": made / (time.process_time() - cpu), "per_wall_second": made / (time.perf_counter() - wall)}


def encode(images: dict[str, torch.Tensor]) -> torch.Tensor:
    """A stand-in of the usual form: 16 tokens of 16 channels per camera; its own cost is paid once and not measured."""
    parts = [torch.nn.functional.adaptive_avg_pool2d(image.flatten(0, 1).float() / 255, (16, 16)).mean(1) for image in images.values()]
    return torch.cat([part.reshape(-1, 1, 16, 16) for part in parts], dim=2)


def measure(dataset: Dataset, cache: Cache, *, batch: int, seconds: float) -> dict[str, object]:
    """Windows and frames per second for each source."""
    build = time.process_time()
    store = FrameStore(dataset, CAMERAS, cache=cache)
    build = time.process_time() - build
    encoded = EncodedStore(store, encode, "bench", cache=cache)
    g = np.random.default_rng(0)
    seen = (len(OFFSETS.history) + len(OFFSETS.future)) * len(CAMERAS)

    def whole_episode() -> int:
        frames = dataset.frames(CAMERAS[0], int(g.integers(len(dataset.episodes))))
        return len(frames)

    sources = {
        "decoding": Windows(dataset, OFFSETS, frames=DecodedFrames(dataset, CAMERAS)),
        "frame_store": Windows(dataset, OFFSETS, frames=store),
        "encoded_store": Windows(dataset, OFFSETS, encoded={"view": encoded, "video": encoded}, images=False),
    }
    result: dict[str, object] = {"sequential_decoding_frames": rate(whole_episode, seconds), "frame_store_build_cpu_seconds": build}
    for name, windows in sources.items():
        size = 8 if name == "decoding" else batch

        def once(windows: Windows = windows, size: int = size) -> int:
            windows.batch(g.integers(len(windows), size=size))
            return size

        found = rate(once, seconds)
        result[name] = {"windows": found, "frames": {unit: value * seen for unit, value in found.items()}}
    base = result["decoding"]["windows"]["per_cpu_second"]
    result["ratio_to_decoding"] = {name: result[name]["windows"]["per_cpu_second"] / base for name in sources}
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "loader.json")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(Path(folder) / "dataset", options.frames, options.size)
        found = measure(dataset, Cache(Path(folder) / "cache"), batch=options.batch, seconds=options.seconds)
    found |= {"setting": {"frames": dataset.frames_total, "size": options.size, "cameras": len(CAMERAS), "batch": options.batch,
                          "frames_per_window": 3 * len(CAMERAS), "actions_per_window": OFFSETS.horizon}}
    print(f"{'source':<16}{'windows/s':>12}{'frames/s':>12}{'ratio':>9}   (per CPU second)")
    for name, ratio in found["ratio_to_decoding"].items():
        print(f"{name:<16}{found[name]['windows']['per_cpu_second']:>12.0f}{found[name]['frames']['per_cpu_second']:>12.0f}{ratio:>9.1f}")
    print(f"{'sequential':<16}{'':>12}{found['sequential_decoding_frames']['per_cpu_second']:>12.0f}   decoding whole episodes, one camera")
    atomic_write_json(options.out, json.loads(json.dumps(found)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
