"""LeRobot's dataset under torch's `DataLoader`, without worker processes, as its own training uses it; run in an environment of its own.

Pictures are decoded by its default, torchcodec. The wheel of torchvision brings operators for CUDA that are not there without it; none of
them takes part in loading, and their names are declared so that torchvision can be imported.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from wire import Built, serve

OPERATORS = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def build(case: str, size: dict[str, Any]) -> Built:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    assert case == "torchcodec", case
    torch.set_num_threads(size["threads"])
    torch.manual_seed(0)
    info = json.loads((Path(size["dataset"]) / "meta" / "info.json").read_text())
    videos = {key: feature for key, feature in info["features"].items() if feature["dtype"] == "video"}
    frames = [step / info["fps"] for step in (*size["history"], *size["future"])]
    times = {**dict.fromkeys(videos, frames), "action": [step / info["fps"] for step in range(size["horizon"])]}
    data = LeRobotDataset("local/demonstrations", root=size["dataset"], delta_timestamps=times)
    assert data.video_backend == case, data.video_backend
    batches = again(DataLoader(data, batch_size=size["batch"], shuffle=True, num_workers=0))

    def call() -> Any:
        return next(batches)

    found = call()
    one = next(iter(videos.values()))
    high, wide = one["shape"][:2]
    assert all(found[key].shape == (size["batch"], len(frames), 3, high, wide) for key in videos), {k: found[k].shape for k in videos}
    assert found["action"].shape[:2] == (size["batch"], size["horizon"]), found["action"].shape
    checked = [data[i] for i in size["checked"]]
    pictures = [float(item[key][i].mean()) for item in checked for key in sorted(videos) for i in range(len(frames))]
    actions = [float(item["action"].double().mean()) for item in checked]
    codec = f"{one['info']['video.codec']} {one['info']['video.pix_fmt']}"
    return call, {"pictures": pictures, "actions": actions, "before": 0.0, "megabytes": 0.0, "cameras": len(videos), "pixels": high,
                  "frames": info["total_frames"], "fps": info["fps"], "codec": codec}


def again(loader: DataLoader) -> Iterator[Any]:
    """Batches, in a new order each time that the data are through."""
    for _ in itertools.count():
        yield from loader


if __name__ == "__main__":
    serve(build)
