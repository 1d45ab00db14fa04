"""One self-contained HTML file about a run: the film first, then the numbers, then everything that stands behind them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from foreact.contract.progress import track
from foreact.contract.storage import atomic_write_text
from foreact.reporting.about import cost_section, model_section, protocol_section
from foreact.reporting.choices import choice_figure
from foreact.reporting.figures import action_figure, curve_figure
from foreact.reporting.film import Film, film
from foreact.reporting.inputs import Recording, ReportInputs
from foreact.reporting.page import absent, named, page, section
from foreact.reporting.player import ACTION_KEY, card, player, returns, stills, tag
from foreact.reporting.success import headline, key, numbers, success_section
from foreact.reporting.value_curve import value_figure

__all__ = ["write_report"]


def write_report(inputs: ReportInputs, path: Path | str) -> Path:
    """Draw `inputs` and write the page to `path`, whole or not at all."""
    path = Path(path)
    films = [film(recording) for recording in track(inputs.recordings, description="encoding films")]
    first = _first(inputs)
    body = "".join((_hero(inputs, films, first), _stills(inputs, first), success_section(inputs), _films(inputs, films, first),
                    _learning(inputs), cost_section(inputs), model_section(inputs), protocol_section(inputs)))
    written = f" on {escape(inputs.written)}" if inputs.written else ""
    footer = f"<footer>Written by foreact{written}. This file holds all that it shows and asks nothing of the network.</footer>"
    atomic_write_text(path, page(title=f"{inputs.title}: {headline(inputs)}",
                                 body=f'{_bar(inputs)}<main class="wrap">{body}{footer}</main>'))
    return path


def _bar(inputs: ReportInputs) -> str:
    return (f'<header class="wrap bar"><b>foreact</b><span>{escape(inputs.title)}</span>'
            f'<span class="push">{escape(inputs.written)}</span>'
            '<button class="pill" id="theme">light / dark</button></header>')


def _first(inputs: ReportInputs) -> int | None:
    """The recording to open with: the model's, with an imagined future, a success, in that order of importance."""
    def rank(index: int) -> tuple[bool, bool, bool]:
        recording = inputs.recordings[index]
        return recording.policy != inputs.model.name, not recording.imagines, not recording.success

    return min(range(len(inputs.recordings)), key=rank, default=None)


def _hero(inputs: ReportInputs, films: Sequence[Film], first: int | None) -> str:
    recording = None if first is None else inputs.recordings[first]
    words = f'<div class="words"><h1>{escape(headline(inputs))}</h1>{_caption(recording)}{numbers(inputs)}</div>'
    if recording is None or first is None:
        return f'<section id="hero">{words}</section>'
    figure = action_figure(recording, name="hero", across=4)
    actions = f'<div class="card below"><h3>What it planned and what it did</h3>{figure}{ACTION_KEY}</div>'
    shown = f'<div class="card">{player(recording, films[first])}</div>'
    curve = value_figure(recording, name="value")
    value = f'<div class="card below"><h3>How good it thought its plans were</h3>{curve}{returns(recording)}</div>' if curve else ""
    scores = choice_figure(recording, name="choices")
    chosen = f'<div class="card below"><h3>Which of its plans were taken</h3>{scores}</div>' if scores else ""
    return f'<section id="hero" data-group><div class="hero">{shown}{words}</div>{value}{chosen}{actions}</section>'


def _caption(recording: Recording | None) -> str:
    if recording is None:
        return absent("No episode was recorded, so there is no film. To record some:", "foreact eval RUN")
    told = f'<span class="instruction">“{escape(recording.instruction or recording.task)}”</span>'
    if not recording.imagines:
        return (f'<p class="faint">The robot was told {told}. Only what really happened is shown: the future of this model does '
                "not live in pixels, or it has none.</p>")
    return (f'<p class="faint">The robot was told {told}. Left: what really happened. Right: what the model had imagined for '
            "that very moment, before it acted. A green frame marks each moment at which an imagined image fell due; it is held "
            "until the next.</p>")


def _stills(inputs: ReportInputs, first: int | None) -> str:
    row = "" if first is None else stills(inputs.recordings[first])
    if not row:
        return ""
    lead = "The same episode. Above: what the camera saw. Below: what had been imagined for that very step, earlier."
    return section("moments", "Imagined and real, moment by moment", lead, f'<div class="card">{row}</div>')


def _films(inputs: ReportInputs, films: Sequence[Film], first: int | None) -> str:
    lead = ("Successes and failures, chosen by the lowest seeds and not by their looks. Each film shows one control step per "
            "frame; drag the slider to go through it.")
    others = [(i, r) for i, r in enumerate(inputs.recordings) if i != first]
    if not others:
        return ""
    filters = [("all", "all"), ("success", "successes"), ("failure", "failures")]
    words = dict.fromkeys([r.condition for _, r in others] + [r.policy for _, r in others])
    filters += [(tag(word), named(word)) for word in words]
    chips = "".join(f'<button class="pill" data-filter="{key}" aria-pressed="{str(key == "all").lower()}">{escape(name)}'
                    "</button>" for key, name in filters)
    cards = "".join(card(r, films[i], i) for i, r in others)
    return section("films", "More films", lead, f'<div class="chips">{chips}</div><div class="gallery">{cards}</div>')


def _learning(inputs: ReportInputs) -> str:
    policies = [p for p in (inputs.model, inputs.baseline) if p is not None]
    lead = "Thin lines: training loss, each step and its running mean. Dots: loss on held-out episodes."
    if not any(p.curves for p in policies):
        return section("learning", "Learning", lead, absent("This run has logged no losses."))
    return section("learning", "Learning", lead, f'<div class="card">{key(policies)}{curve_figure(policies)}</div>')
