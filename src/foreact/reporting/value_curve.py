"""The value of the plans over an episode: a strip beneath the film, a figure on the page, and what a rollback is marked with.

The curve runs through the values of the calls, over control steps spent. Where a value fell too far it ends in a cross; the
rollback's answer begins the next piece at the same step. Steps that were taken back are shaded, and marked in the picture itself.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from jaxtyping import UInt8

from foreact.reporting.figures import THEME, themed
from foreact.reporting.inputs import Recording, Return

__all__ = ["STRIP_HEIGHT", "Strip", "marked", "pieces", "sentence", "span", "value_figure"]

STRIP_HEIGHT, _MARGIN = 72, 10
_GROUND, _SHADE = np.array([24, 26, 32], np.uint8), np.array([64, 30, 38], np.uint8)
_LINE, _FALL, _BACK, _FAINT = (130, 165, 255), (255, 96, 104), (56, 217, 169), (120, 126, 140)
_LEAST_SPAN, _SHOWN_FOR, _FINE = 0.2, 10, 3
"""A curve that hardly moves is not drawn as if it did; a restoration is pointed out for so many steps; lines are drawn so much larger."""


def pieces(recording: Recording) -> list[list[tuple[int, float]]]:
    """(step, value) of the calls, cut where a rollback's answer begins anew."""
    answers = {back.call + 1 for back in recording.returns}
    found: list[list[tuple[int, float]]] = [[]]
    for index, call in enumerate(recording.calls):
        if index in answers:
            found.append([])
        if call.value is not None:
            found[-1].append((call.step, call.value))
    return [piece for piece in found if piece]


def span(recording: Recording) -> tuple[float, float]:
    """Between which values the curve is drawn."""
    values = [call.value for call in recording.calls if call.value is not None]
    low, high = min(values), max(values)
    wider = max(_LEAST_SPAN - (high - low), 0.1 * (high - low)) / 2
    return low - wider, high + wider


# --- the film ---------------------------------------------------------------------------------------------------------

class Strip:
    """The curve as pixels of `width`, drawn once; each frame shows what had happened by then, with a cursor at the present."""

    def __init__(self, recording: Recording, width: int) -> None:
        from PIL import Image, ImageDraw

        self._last, self._width, fine = max(recording.length - 1, 1), width, _FINE
        self._spoken = [(call.step, call.value) for call in recording.calls if call.value is not None]
        self._low, self._high = span(recording)
        ground = np.broadcast_to(_GROUND, (STRIP_HEIGHT, width, 3)).copy()
        for back in recording.returns:
            if back.restored:
                ground[:, self._x(back.peak_step):self._x(back.step)] = _SHADE
        image = Image.fromarray(ground).resize((fine * width, fine * STRIP_HEIGHT))
        pen = ImageDraw.Draw(image)

        def at(step: int, value: float) -> tuple[int, int]:
            return fine * self._x(step), fine * self._y(value)

        for back in recording.returns:
            corner = [at(back.step, back.value), at(back.step, back.peak), at(back.peak_step, back.peak)]
            pen.line(corner if back.restored else corner[:2], fill=_BACK, width=fine)
        for piece in pieces(recording):
            points = [at(*point) for point in piece]
            pen.line(points, fill=_LINE, width=2 * fine, joint="curve")
            for point in points:
                pen.circle(point, 3 * fine, fill=_LINE)
        for back in recording.returns:
            x, y = at(back.step, back.value)
            for slope in (-4 * fine, 4 * fine):
                pen.line([(x - 4 * fine, y - slope), (x + 4 * fine, y + slope)], fill=_FALL, width=2 * fine)
        self._drawn = np.asarray(image.resize((width, STRIP_HEIGHT), Image.Resampling.LANCZOS))

    def at(self, step: int) -> UInt8[np.ndarray, "height width 3"]:
        """The strip at one control step."""
        from PIL import Image, ImageDraw

        now = self._x(step)
        picture = self._drawn.copy()
        picture[:, now + 3:] = _GROUND + (picture[:, now + 3:].astype(np.int16) - _GROUND) // 4
        picture[:, now:now + 1] = _FAINT
        image = Image.fromarray(picture)
        told = [value for made, value in self._spoken if made <= step]
        if told:
            ImageDraw.Draw(image).text((6, 3), f"value {told[-1]:.2f}", fill=(233, 234, 238), font=_font(13))
        return np.asarray(image)

    def _x(self, step: int) -> int:
        return round(step * (self._width - 1) / self._last)

    def _y(self, value: float) -> int:
        share = (value - self._low) / (self._high - self._low)
        return round(STRIP_HEIGHT - _MARGIN - share * (STRIP_HEIGHT - 2 * _MARGIN))


def marked(panel: UInt8[np.ndarray, "height width 3"], recording: Recording, step: int) -> UInt8[np.ndarray, "height width 3"]:
    """The picture of one step with what a rollback has to do with it: taken back later, just restored, or just planned anew; or with the
    alarm that a monitor has just raised."""
    from PIL import Image, ImageDraw

    lately = [back for back in recording.returns if back.step <= step < back.step + _SHOWN_FOR]
    alarms = [alarm for alarm in recording.alarms if alarm.step <= step < alarm.step + _SHOWN_FOR]
    if recording.undone[step]:
        grey = panel.mean(axis=-1, keepdims=True)
        panel, colour, word = (0.35 * panel + 0.65 * grey * [1.0, 0.86, 0.86]).astype(np.uint8), _FALL, "taken back"
    elif lately:
        colour, word = _BACK, f"restored: step {lately[-1].peak_step}" if lately[-1].restored else "planned anew"
    elif alarms:
        colour, word = _FALL, f"alarm: {alarms[-1].kind}"
    else:
        return panel
    image = Image.fromarray(panel)
    pen = ImageDraw.Draw(image)
    pen.rectangle([0, 0, image.width - 1, image.height - 1], outline=colour, width=4)
    box = pen.textbbox((0, 0), word, font=_font(14))
    pen.rectangle([0, image.height - 26, box[2] + 16, image.height], fill=colour)
    pen.text((8, image.height - 23), word, fill=(16, 18, 23), font=_font(14))
    return np.asarray(image)


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


# --- the page ---------------------------------------------------------------------------------------------------------

def value_figure(recording: Recording, *, name: str, small: bool = False) -> str:
    """The curve with its triggers, and a marker that the player moves; nothing where the model gives no value."""
    if not any(call.value is not None for call in recording.calls):
        return ""
    steps = max(len(recording.executed), 1)
    low, high = span(recording)

    def draw(figure: Any, narrow: bool) -> None:
        axes = figure.subplots()
        for back in recording.returns:
            if back.restored:
                axes.axvspan(back.peak_step, back.step, color=THEME["now"], alpha=0.10, lw=0)
                axes.plot([back.step, back.step, back.peak_step], [back.value, back.peak, back.peak], color=THEME["now"], lw=1.0,
                          ls=(0, (3, 2)))
                axes.plot(back.peak_step, back.peak, "o", mfc="none", mec=THEME["now"], ms=8)
            axes.plot(back.step, back.value, "x", color=THEME["now"], ms=7, mew=2, zorder=4)
        for piece in pieces(recording):
            axes.plot(*zip(*piece, strict=True), "-o", color=THEME["model"], lw=1.6, ms=3)
        axes.axvline(0, color=THEME["now"], lw=1.4, gid="now")
        axes.axvline(steps, color=THEME["now"], lw=1.4, alpha=0.0, gid="end")
        axes.set_xlim(0, steps)
        axes.set_ylim(low, high)
        axes.set_xlabel("control step, all that were spent")
        axes.set_ylabel("value of the plan")
        axes.locator_params(axis="y", nbins=4)

    label = ". ".join(sentence(back) for back in recording.returns) or "It never fell far enough to go back"
    sizes = {"wide": (5.0, 1.8)} if small else {"wide": (9.2, 1.9), "narrow": (4.3, 1.9)}
    drawn = themed(draw, name=name, **sizes, label=f"Value of each plan over the episode. {label}")
    return f'<div class="actions" data-steps="{steps}">{drawn}</div>'


def sentence(back: Return) -> str:
    """A rollback in words."""
    fell = f"At step {back.step} the value had fallen to {back.value:.2f}, from a peak of {back.peak:.2f} at step {back.peak_step}"
    if back.restored:
        return f"{fell}: the world was put back to there and the plan drawn anew; the {back.step - back.peak_step} steps between count"
    return f"{fell}: the plan was discarded and drawn anew from where the robot stood"
