"""A film on the page: panels with their labels, the reach of every prediction, controls, and the actions beneath."""

from __future__ import annotations

from collections import Counter
from html import escape

import numpy as np

from foreact.reporting.alarm_track import track
from foreact.reporting.choices import choice_figure
from foreact.reporting.figures import action_figure
from foreact.reporting.film import GAP, PANEL_HEIGHT, Film, encode_jpeg, enlarge, fit
from foreact.reporting.inputs import Recording
from foreact.reporting.page import data_uri, json_block, named
from foreact.reporting.value_curve import sentence, value_figure

__all__ = ["ACTION_KEY", "card", "player", "returns", "stills", "tag"]

_SPEEDS, TIMES = (0.5, 1, 2), "\u00d7"


def card(recording: Recording, made: Film, index: int) -> str:
    """One film of the gallery with its title, and its actions folded beneath."""
    outcome = "success" if recording.success else "failure"
    tags = f"{outcome} {tag(recording.condition)} {tag(recording.policy)}"
    actions = action_figure(recording, name=f"a{index}", across=2, narrow_too=False)
    return (f'<div class="card" data-group data-tags="{tags}">{_title(recording, outcome)}{player(recording, made)}'
            f"{value_figure(recording, name=f'v{index}', small=True)}{returns(recording)}"
            f"{choice_figure(recording, name=f'c{index}', small=True)}"
            f"<details><summary>The actions: planned and executed</summary>{actions}{ACTION_KEY}</details></div>")


ACTION_KEY = ('<p class="small faint"><span class="key" style="--dot:var(--model)"><i></i>executed</span>'
              '<span class="key" style="--dot:var(--plan)"><i></i>planned chunks, a dot at each model call</span></p>')


def tag(text: str) -> str:
    """A word for the filters: letters and digits only."""
    return "t" + "".join(c if c.isalnum() else "-" for c in text.lower())


def _title(recording: Recording, outcome: str) -> str:
    return (f'<div class="title"><h3>{escape(recording.task)}</h3><span class="badge {outcome}">{outcome}</span>'
            f'<span class="faint small">{escape(named(recording.condition))}, seed {recording.seed}, '
            f"{escape(recording.policy)}</span></div>")


def player(recording: Recording, made: Film) -> str:
    """The film, playing, with labels that say for which moment each imagined image was meant."""
    imagined = recording.imagines
    panel = (made.width - (made.columns - 1) * GAP) / made.columns
    two = 2 * panel + GAP if imagined else made.width
    full, shown = made.width / two, 2 if imagined else 1
    pairs = [None if s is None else [s.made, s.target, round(made.mean_difference[s.made, s.target], 3)] for s in made.shown]
    first = min((c.step + o for c in recording.calls if c.imagined for o in c.offsets), default=None)
    aspect2, aspect3 = f"{two:.0f} / {made.height}", f"{made.width} / {made.height}"
    data = json_block({"fps": made.fps, "frames": recording.length, "shown": pairs, "first": first, "full": full,
                       "aspect2": aspect2, "aspect3": aspect3, "undone": recording.undone.astype(int).tolist()})
    style = f"--shown:{shown};--full:{full:.5f};--aspect:{aspect2}"
    heads = '<div><b>Real</b><span class="seen"></span></div>'
    if imagined:
        heads += ('<div class="imagined"><b>Imagined</b><span class="when"></span></div>'
                  '<div class="third" hidden><b>Difference</b><span class="gap"></span></div>')
    label = f"{recording.task}: what happened" + (" beside what the model imagined" if imagined else "")
    return f"""{track(recording)}<figure class="film{' both' if imagined else ''}" style="{style}">{data}
<div class="heads">{heads}</div>
<div class="screen"><video muted loop playsinline preload="auto" width="{made.width}" height="{made.height}"
 aria-label="{escape(label, quote=True)}" poster="{data_uri('image/jpeg', made.poster)}"
 src="{data_uri('video/mp4', made.mp4)}"></video>
{_camera_labels(recording, made)}<div class="frame"></div></div>
{_reach(recording, made) if imagined else ''}
<div class="controls"><button class="play" aria-label="pause"></button>
<input type="range" min="0" max="{recording.length - 1}" value="0" step="1" aria-label="control step"></div>
<div class="tools">{_tools(recording, made, imagined)}</div></figure>"""


def _camera_labels(recording: Recording, made: Film) -> str:
    labels = []
    for index, camera in enumerate(recording.frames):
        row, column = (index, 0) if made.rows > 1 else (0, index)
        top, left = row * (PANEL_HEIGHT + GAP) / made.height, 0 if recording.imagines else column / made.columns
        labels.append(f'<span class="camera" style="top:calc({100 * top:.2f}% + 8px);left:calc({100 * left:.2f}% + 8px)">'
                      f"{escape(camera)}</span>")
    return "".join(labels)


def _tools(recording: Recording, made: Film, imagined: bool) -> str:
    slow = made.fps / recording.rate_hz
    buttons = "".join(f'<button class="pill" data-speed="{s}" aria-pressed="{str(s == 1).lower()}">{s:g}{TIMES}</button>'
                      for s in _SPEEDS)
    toggle = '<button class="pill toggle" aria-pressed="false">difference</button>' if imagined else ""
    return f"{toggle}{buttons}<span>1{TIMES} is {slow:.2g} of the robot's speed</span>"


def _reach(recording: Recording, made: Film) -> str:
    """Arcs from the step at which a shown image was imagined to the step for which it was imagined."""
    span = max(recording.length - 1, 1)
    paths = []
    for start, target in sorted({(s.made, s.target) for s in made.shown if s is not None}):
        x0, x1, top = 1000 * start / span, 1000 * target / span, _height(target - start)
        paths.append(f'<path data-pair="{start}-{target}" d="M{x0:.1f} 25Q{(x0 + x1) / 2:.1f} {top:.1f} {x1:.1f} 25"/>')
    return ('<svg class="reach" viewBox="0 0 1000 26" preserveAspectRatio="none" role="img" '
            f'aria-label="from the step of each prediction to the step it is for">{"".join(paths)}</svg>')


def _height(reach: int) -> float:
    """Longer reaches rise higher; the control point of a quadratic curve lies at twice its height."""
    return 25 - min(8 + 2.6 * reach, 46)


def stills(recording: Recording, count: int = 8) -> str:
    """Aligned moments of the first camera: the real image, and below it what had been imagined for that step, a row per offset.

    Shown are steps for which the same, and the most, offsets fell due; the nearest prediction comes first.
    """
    camera, images = next(iter(recording.frames.items()))
    due: dict[int, dict[int, np.ndarray]] = {}
    for index, call in enumerate(recording.calls):
        for offset, image in zip(call.offsets, call.imagined.get(camera, ()), strict=camera in call.imagined):
            if call.step + offset < recording.length and recording.stands(index, call.step + offset):
                due.setdefault(call.step + offset, {})[offset] = image
    if not due:
        return ""
    common = Counter(frozenset(found) for found in due.values())
    offsets = max(common, key=lambda found: (len(found), common[found], min(found)))
    targets = sorted(target for target, found in due.items() if found.keys() == offsets)
    chosen = [targets[i] for i in np.unique(np.linspace(0, len(targets) - 1, min(count, len(targets))).round().astype(int))]
    rows = [[images[t] for t in chosen], *([fit(due[t][o], images.shape[1:3]) for t in chosen] for o in sorted(offsets))]
    return _sheet(rows, ["real", *(f"imagined {o} steps before" for o in sorted(offsets))], [f"step {target}" for target in chosen])


def returns(recording: Recording) -> str:
    """Each rollback in words and, where the world was put back, in pictures of the first camera: the peak, what was seen last
    before the restoration, and as long after it as was taken back."""
    camera, images = next(iter(recording.frames.items()))
    told = []
    for back in recording.returns:
        told.append(f'<p class="small told">{escape(sentence(back))}.</p>')
        if camera in back.seen:
            later = min(2 * back.step - back.peak_step, recording.length - 1)
            told.append(_sheet([[images[back.peak_step], back.seen[camera], images[back.step], images[later]]], ["real"], [
                f"step {back.peak_step}: the peak", f"step {back.step}: fallen", f"step {back.step}: restored", f"step {later}: after"]))
    return "".join(told)


def _sheet(rows: list[list[np.ndarray]], names: list[str], moments: list[str]) -> str:
    """Rows of pictures, a name for each row and a moment for each column."""
    count = len(moments)
    sheet = encode_jpeg(np.concatenate([np.concatenate([_thumb(image) for image in row], axis=1) for row in rows]), quality=88)
    labels = "".join(f'<span class="camera" style="top:calc({100 * i / len(rows):.2f}% + 6px);left:6px">{name}</span>'
                     for i, name in enumerate(names))
    beneath = "".join(f"<span>{moment}</span>" for moment in moments)
    image = f'<img alt="{escape("; ".join(names))}" src="{data_uri("image/jpeg", sheet)}">'
    return (f'<div class="stills"><div style="max-width:{160 * count}px;min-width:{80 * count}px"><div class="sheet">{image}{labels}</div>'
            f'<div class="moments" style="grid-template-columns:repeat({count},1fr)">{beneath}</div></div></div>')


def _thumb(image: np.ndarray) -> np.ndarray:
    """Half a panel's size, with an edge that sets it off from its neighbours."""
    return np.pad(enlarge(image)[::2, ::2], ((1, 1), (1, 1), (0, 0)), constant_values=12)
