"""Where several plans were drawn and one was taken: every candidate's score at each plan, and the choice among them.

Scores are comparable within a plan, not always between plans, so what is drawn at a plan is how far each candidate lies below the best
one. The first candidate, which is the plan without selection, is drawn as a ring; what was taken is filled.
"""

from __future__ import annotations

from typing import Any

from foreact.reporting.figures import THEME, themed
from foreact.reporting.inputs import Recording

__all__ = ["choice_figure", "choices_in_words"]


def choice_figure(recording: Recording, *, name: str, small: bool = False) -> str:
    """The scores over the episode, with a marker that the player moves; nothing where there was nothing to choose."""
    if not recording.choices:
        return ""
    steps = max(len(recording.executed), 1)

    def draw(figure: Any, narrow: bool) -> None:
        axes = figure.subplots()
        for choice in recording.choices:
            best = max(choice.scores)
            axes.plot([choice.step] * len(choice.scores), [score - best for score in choice.scores], ".", color=THEME["plan"], ms=4)
            axes.plot(choice.step, choice.scores[0] - best, "o", mfc="none", mec=THEME["plan"], ms=7)
            axes.plot(choice.step, choice.scores[choice.chosen] - best, "o", color=THEME["model"], ms=5, zorder=4)
        axes.axvline(0, color=THEME["now"], lw=1.4, gid="now")
        axes.axvline(steps, color=THEME["now"], lw=1.4, alpha=0.0, gid="end")
        axes.set_xlim(0, steps)
        axes.set_xlabel("control step")
        axes.set_ylabel("score below the best")
        axes.locator_params(axis="y", nbins=4)

    sizes = {"wide": (5.0, 1.8)} if small else {"wide": (9.2, 1.9), "narrow": (4.3, 1.9)}
    drawn = themed(draw, name=name, **sizes, label=f"Scores of the candidates at each plan. {choices_in_words(recording)}")
    legend = ('<p class="small faint"><span class="key" style="--dot:var(--model)"><i></i>taken</span>'
              '<span class="key" style="--dot:var(--plan)"><i></i>other candidates, a ring around the first</span></p>')
    return f'<div class="actions" data-steps="{steps}">{drawn}</div>{legend}<p class="small faint">{choices_in_words(recording)}</p>'


def choices_in_words(recording: Recording) -> str:
    """How many choices there were, and how often the first candidate was not taken; empty where there was none."""
    if not recording.choices:
        return ""
    other, most = sum(choice.chosen != 0 for choice in recording.choices), max(len(choice.scores) for choice in recording.choices)
    return (f"{len(recording.choices)} of {len(recording.calls)} plans were chosen among {most} candidates; "
            f"in {other} of them another than the first was taken.")
