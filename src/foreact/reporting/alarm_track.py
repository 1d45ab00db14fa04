"""A monitor over an episode, on the time axis above the film: both running scores, the threshold that they share, a mark for each alarm.

Scores are in multiples of their thresholds, so one line at 1 serves both (see `selection/monitor.py`). The track lies over the slider: what
stands at a place of the one is of the step at the same place of the other.
"""

from __future__ import annotations

from html import escape

from foreact.reporting.inputs import Recording
from foreact.selection.monitor import KINDS, Alarm

__all__ = ["HEIGHT", "told", "track"]

HEIGHT, _LEAST, _MOST, _TOP = 54, 1.3, 3.0, 6
"""Units of the drawing; the curve reaches at least, and at most, so many thresholds up; room for the marks above it."""
_NAMES = {"mismatch": "what came was not what had been imagined", "collapse": "nothing moved, though the plan commanded motion"}


def track(recording: Recording) -> str:
    """The curves with their alarms; nothing where no monitor watched."""
    if not recording.scores:
        return ""
    span = max(recording.length - 1, 1)
    top = min(max([_LEAST, *(1.05 * max(s.mismatch, s.collapse) for s in recording.scores)]), _MOST)

    def x(step: int) -> float:
        return 1000 * step / span

    def y(score: float) -> float:
        return HEIGHT - (HEIGHT - _TOP) * min(score, top) / top

    curves = "".join(
        f'<polyline class="{kind}" points="{" ".join(f"{x(s.step):.1f},{y(getattr(s, kind)):.1f}" for s in recording.scores)}"/>'
        for kind in KINDS)
    marks = "".join(f'<path class="alarm" data-step="{a.step}" d="M{x(a.step):.1f} 0V{HEIGHT}"/>' for a in recording.alarms)
    names = "".join(f'<span class="mark" style="{_place(x(a.step) / 10)}">{a.kind}</span>' for a in _apart(recording.alarms, span))
    label = ". ".join(told(alarm) for alarm in recording.alarms) or "The monitor raised no alarm"
    return (f'<div class="actions watch" data-steps="{span}"><div class="marks">{names}</div>'
            f'<svg viewBox="0 0 1000 {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(label, quote=True)}">'
            f'<path class="threshold" d="M0 {y(1.0):.1f}H1000"/>{curves}{marks}'
            f'<g class="now"><path d="M0 0V{HEIGHT}"/></g><g class="end"><path d="M1000 0V{HEIGHT}"/></g></svg>'
            '<p class="legend"><span class="key mismatch"><i></i>mismatch</span><span class="key collapse"><i></i>collapse</span>'
            f'<span class="key threshold"><i></i>alarm above</span></p></div>{_sentences(recording)}')


def told(alarm: Alarm) -> str:
    """An alarm in words."""
    return f"Alarm at step {alarm.step}, {alarm.kind}: {_NAMES[alarm.kind]}, {alarm.score:.1f} times the threshold"


def _sentences(recording: Recording) -> str:
    words = [f"{told(alarm)}." for alarm in recording.alarms]
    if recording.asked:
        words.append("The robot asked for help, and the episode ended.")
    return "".join(f'<p class="small told">{escape(sentence)}</p>' for sentence in words)


def _place(percent: float) -> str:
    """Where a name stands: at its step, to the left of it near the end."""
    return f"left:{percent:.2f}%" if percent < 80 else f"right:{100 - percent:.2f}%"


def _apart(alarms: tuple[Alarm, ...], span: int) -> list[Alarm]:
    """Those whose names do not run into the one before."""
    kept: list[Alarm] = []
    for alarm in alarms:
        if not kept or alarm.step - kept[-1].step > span / 5:
            kept.append(alarm)
    return kept
