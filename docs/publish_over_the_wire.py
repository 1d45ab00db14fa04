"""Make the picture of `serve.md`, two robots over the wire: `python docs/publish_over_the_wire.py RUN [RESULT.json]`.

Starts `foreact serve RUN` and `examples/over_the_wire.py` as processes of their own and keeps what they print. The first episode of
each task is then played once more from its recorded actions, drawn larger; an outcome that is not the recorded one is an error. Text
and films are set into one animated WebP, its last picture into a PNG. All of it goes to RESULT.json; where that is there, it is only drawn.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from foreact.envs.metaworld import MetaWorld

ROOT = Path(__file__).resolve().parents[1]
IMAGE = ROOT / "docs/images/over-the-wire"
TASKS, SEEDS, PORT = ("button-press-topdown", "window-open"), 16, 8000
VIEW, WIDTH, EVERY = 240, 880, 4
INK, PAPER, DIM, GOOD, BAD = "#d8dee4", "#0d1117", "#8b949e", "#3fb950", "#f85149"


def printed(process: subprocess.Popen[str]) -> queue.Queue[str]:
    """The lines of a process as they come, read by a thread; an empty one ends them."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            lines.put(line.rstrip("\n"))
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    return lines


def over_the_wire(run: Path) -> tuple[list[str], list[str], dict[str, Any]]:
    """What server and client print, and the result."""
    paths = os.pathsep.join(str(ROOT / place) for place in ("src", "clients/foreact-client/src"))
    settings = {"env": {**os.environ, "PYTHONPATH": paths}, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    server = subprocess.Popen([sys.executable, "-m", "foreact", "serve", run, f"port={PORT}"], **settings)
    try:
        lines, served = printed(server), [f"$ foreact serve {run} port={PORT}"]
        while not served[-1].startswith("ready"):
            served.append(lines.get())
            assert served[-1], served
        with tempfile.TemporaryDirectory() as folder:
            words = ["examples/over_the_wire.py", f"ws://127.0.0.1:{PORT}", "--tasks", *TASKS, "--seeds", str(SEEDS), "--latency", "100"]
            client = subprocess.Popen([sys.executable, ROOT / words[0], *words[1:], "--out", f"{folder}/wire.json"], **settings)
            heard, driven = printed(client), ["$ python " + " ".join(words)]
            while line := heard.get():
                driven.append(line)
                print(line, flush=True)
            assert client.wait() == 0, driven
            result = json.loads(Path(folder, "wire.json").read_text())
        server.send_signal(signal.SIGINT)
        while line := lines.get():
            served.append(line)
    finally:
        server.terminate()
        server.wait()
    return served, driven, result


def film(episode: dict[str, Any], horizon: int) -> list[Image.Image]:
    """Some steps of the recorded actions, done once more."""
    world = MetaWorld.Config(task=episode["task"], size=VIEW, horizon=horizon, cameras=("scene",)).build()
    world.reset(seed=episode["seed"])
    frames, success = [world.draw("scene")], False
    for step, action in enumerate(np.float32(episode["actions"]), 1):
        _, _, success, _, _ = world.step(action)
        if step % EVERY == 0 or step == episode["steps"]:
            frames.append(world.draw("scene"))
    world.close()
    assert bool(success) == episode["success"], episode
    return [Image.fromarray(frame.transpose(1, 2, 0)) for frame in frames]


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSansMono.ttf"), size)


def terminal(title: str, lines: list[str], size: tuple[int, int], text: int = 11) -> Image.Image:
    """The last of these lines that there is room for, long ones folded."""
    image = Image.new("RGB", size, PAPER)
    draw, high, wide = ImageDraw.Draw(image), text + 4, int((size[0] - 16) / font(text).getlength("m"))
    folded = [part for line in lines for part in textwrap.wrap(line, wide, subsequent_indent="  ") or [""]]
    draw.rectangle((0, 0, size[0], 18), fill="#21262d")
    draw.text((8, 3), title, font=font(text), fill=DIM)
    for row, line in enumerate(folded[-((size[1] - 26) // high):]):
        colour = GOOD if line.startswith("$") else INK
        draw.text((8, 23 + row * high), line, font=font(text), fill=colour)
    return image


def scene(robots: dict[str, tuple[Image.Image, str, str]], served: list[str], driven: list[str]) -> Image.Image:
    """The robots side by side, the server beside them, the client below."""
    image = Image.new("RGB", (WIDTH, VIEW + 20 + 6 + 250), "#30363d")
    draw = ImageDraw.Draw(image)
    for place, (name, (frame, words, colour)) in enumerate(robots.items()):
        left = place * (VIEW + 6)
        image.paste(frame, (left, 20))
        draw.text((left + 4, 4), f"{name}: {words}", font=font(11), fill=colour)
    left = 2 * (VIEW + 6)
    image.paste(terminal("server", served, (WIDTH - left, VIEW + 20)), (left, 0))
    image.paste(terminal("client", driven, (WIDTH, 250)), (0, VIEW + 26))
    return image


def scenes(served: list[str], driven: list[str], result: dict[str, Any]) -> Iterator[tuple[Image.Image, int]]:
    """Each picture and how long it stands, in ms: 80 Hz at a quarter of its speed, where robots are shown."""
    by = {(one["task"], one["seed"], one["robot"]): one for one in result["episodes"]}
    pairs = list(dict.fromkeys((one["task"], one["seed"]) for one in result["episodes"]))
    head, up = driven[:2], [line for line in served if not line.startswith("stop")]
    first: dict[str, tuple[Image.Image, str, str]] = {}
    for number, (task, seed) in enumerate(pairs):
        if number % SEEDS == 0:
            shown: dict[str, tuple[Image.Image, str, str]] = {}
            both = {robot: by[task, seed, robot] for robot in ("waits", "goes on")}
            films = {robot: film(one, result["horizon"]) for robot, one in both.items()}
            for at in range(max(map(len, films.values()))):
                for robot, one in both.items():
                    step, over = min(at * EVERY, one["steps"]), at >= len(films[robot]) - 1
                    words, colour = f"step {step:3d}", INK
                    if over:
                        words, colour = ("solved", GOOD) if one["success"] else ("failed", BAD)
                        words = f"{words} in {one['steps']} steps"
                    shown[robot] = films[robot][min(at, len(films[robot]) - 1)], words, colour
                yield scene(shown, up, driven[: len(head) + number]), 4 * EVERY * 1000 // 80
            yield scene(shown, up, driven[: len(head) + number + 1]), 900
            first = first or shown
        else:
            yield scene(shown, up, driven[: len(head) + number + 1]), 80
    yield scene(first, served, driven), 6000


def main() -> None:
    kept = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    if kept is not None and kept.exists():
        result = json.loads(kept.read_text())
        served, driven = result["server"], result["client"]
    else:
        served, driven, result = over_the_wire(Path(sys.argv[1]))
        if kept is not None:
            kept.write_text(json.dumps({"server": served, "client": driven, **result}))
    pictures, times = zip(*scenes(served, driven, result), strict=True)
    pictures[0].save(IMAGE.with_suffix(".webp"), save_all=True, append_images=pictures[1:], duration=list(times), loop=0, quality=45,
                     method=6)
    pictures[-1].save(IMAGE.with_suffix(".png"), optimize=True)
    for kind in (".webp", ".png"):
        print(IMAGE.with_suffix(kind), IMAGE.with_suffix(kind).stat().st_size // 1024, "KiB")


if __name__ == "__main__":
    main()
