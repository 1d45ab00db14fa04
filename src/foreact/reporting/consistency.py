"""The page of `foreact diagnose consistency`: one section for each question, the evaluations side by side in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from foreact.contract.storage import atomic_write_text
from foreact.reporting import consistency_figures as figures
from foreact.reporting.page import absent, diagnosis, section, table, tile

__all__ = ["write_consistency_page"]

Frames = Sequence[tuple[bool, float, float]]
_VERDICT = {"raises": "raises the AUC", "lowers": "lowers it", "leaves open": "is not decided"}


def write_consistency_page(found: Mapping[str, Any], frames: Sequence[Frames], path: Path | str, *,
                           films: Sequence[Sequence[Mapping[str, Any]]] | None = None, written: str = "") -> Path:
    """`found`: what the command tells as JSON. frames: by evaluation, (success, distance, change) of each imagined frame that came due.

    films: by evaluation, the failures that stalled and were filmed: task, seed, since which step, and moments with step, seen, imagined.
    """
    path, films = Path(path), films or [[]] * len(frames)
    every = found["evaluations"]
    parts = [_head(every), _figures(found), _separation(every), _tasks(every), _change(every, frames), _collapse(every, films)]
    parts += [_correction(every), _value(every), _against(every)]
    atomic_write_text(path, diagnosis("consistency", title="Consistency", body="".join(parts), written=written))
    return path


# --- words and numbers ------------------------------------------------------------------------------------------------

def _number(value: float | None, sign: bool = True) -> str:
    return "?" if value is None else f"{value:{'+' if sign else ''}.2f}"


def _with(of: Mapping[str, Any], name: str, sign: bool = True) -> str:
    if of[name] is None:
        return "?"
    low, high = of[f"{name}_interval"]
    return f"{_number(of[name], sign)} <span class='faint'>{_number(low, sign)} to {_number(high, sign)}</span>"


def _rate(of: Mapping[str, Any] | None) -> str:
    if of is None:
        return "none"
    low, high = of["interval"]
    return f"{of['count']} of {of['n']} <span class='faint'>{100 * low:.0f} to {100 * high:.0f} %</span>"


def _below(body: str) -> str:
    return f'<div class="below">{body}</div>'


def _key(*entries: tuple[str, str]) -> str:
    return "".join(f'<span class="key" style="--dot: var(--{role})"><i></i>{escape(title)}</span>' for title, role in entries)


_BOTH = _key(*((name, role) for name, role, _ in figures.SIDES))


def _cards(every: Sequence[Mapping[str, Any]], card: Callable[[Mapping[str, Any], int], str]) -> str:
    """A card for each evaluation, under its name."""
    made = "".join(f'<div class="card"><h3>{escape(one["name"])}</h3>{card(one, index)}</div>' for index, one in enumerate(every))
    return f'<div class="split below">{made}</div>'


# --- sections ---------------------------------------------------------------------------------------------------------

def _head(every: Sequence[Mapping[str, Any]]) -> str:
    tiles = []
    for one in every:
        low, high = one["all"]["d_interval"]
        tiles.append(tile(f"d, {one['name']}", _number(one["all"]["d"]),
                          f"95 %: {_number(low)} to {_number(high)}; AUC {_number(one['all']['auc'], False)}; "
                          f"{one['all']['successes']} of {one['all']['episodes']} succeeded"))
    return ('<section id="head"><h1>Did what was imagined come true, and does that tell success from failure?</h1>'
            f'<div class="tiles below">{"".join(tiles)}</div></section>')


def _figures(found: Mapping[str, Any]) -> str:
    rows, more = [], []
    for one in found["evaluations"]:
        aligned = one["aligned"]
        some = f"{len(aligned['tasks'])} of {len(one['tasks'])}"
        rows.append([escape(one["name"]), str(one["all"]["episodes"]), _with(one["all"], "d"), _with(one["all"], "auc", False),
                     f"{some}: {_with(aligned, 'auc', False)}" if "auc" in aligned else some])
        kept = "kept to the plan" if one["on_plan"] else "planned anew before"
        more.append([escape(one["name"]), escape(one["distance"]), f"{one['frames']}, {kept}", _with(one, "skill"),
                     _with(one["change"], "pearson"), _with(one["change"], "spearman")])
    rows += [[f"paper: {escape(name)}", "", _number(of["d"]), "", _number(of["auc"], False)] for name, of in found["paper"].items()]
    head = ["evaluation", "episodes", "Cohen's d", "AUC", "AUC over aligned tasks"]
    heads = ["evaluation", "distance", "frames", "skill", "Pearson", "Spearman"]
    lead = ("Each with its 95 % interval over seeds. d: of successes less failures, in z-scores of log C within each task. AUC: of telling "
            "them apart on seeds that the regression has not seen; it may point either way, d says which. Skill: 0 for a future in which "
            "nothing moves. Pearson, Spearman: correlation of log C with how much changed (table 3 of the paper).")
    body = f'<div class="card">{table(head, rows)}</div><div class="card below">{table(heads, more)}</div>'
    return section("figures", "In figures", lead, body)


def _separation(every: Sequence[Mapping[str, Any]]) -> str:
    lead = ("Above: how consistent successes and failures were, broken lines at their means (figure 1 of the paper). Below: telling them "
            "apart by it, each fifth of the seeds by the other four (figure 2). A task is aligned where its successes are the more "
            "consistent; choosing those tasks, as the paper does, chooses by what is then measured.")
    curves = _key(("all tasks", "model"), ("aligned tasks", "plan"))
    return section("separation", "Success and failure", lead, _cards(
        every, lambda one, i: f"{_BOTH}{figures.histogram(one, f'z{i}')}{_below(curves + figures.rocs(one, f'roc{i}'))}"))


def _tasks(every: Sequence[Mapping[str, Any]]) -> str:
    def card(one: Mapping[str, Any], index: int) -> str:
        rows = [[escape(task), f"{of['successes']} of {of['episodes']}", _with(of, "d"),
                 "yes" if task in one["aligned"]["tasks"] else "no"] for task, of in one["tasks"].items()]
        shown = table(["task", "succeeded", "Cohen's d", "aligned"], rows)
        curves = figures.task_rocs(one, f"taskroc{index}")
        return f"{_BOTH}{figures.task_scores(one, f'tasks{index}')}{shown}{_below(curves)}"

    lead = "Mean C of successes and of failures (figure 10), and the ROC of the score within each task with the area under it (figure 11)."
    return section("tasks", "Task by task", lead, _cards(every, card))


def _change(every: Sequence[Mapping[str, Any]], frames: Sequence[Frames]) -> str:
    def card(one: Mapping[str, Any], index: int) -> str:
        apart = one["change"]["by_alignment"]
        told = ("" if apart["all"]["difference"] is None else
                f'<p class="small below">Misaligned less aligned: {_with(apart["all"], "difference")}; of failures alone '
                f'{_with(apart["failures"], "difference")}.</p>')
        return (f"{_BOTH}{figures.scatter(frames[index], f'change{index}')}{figures.over_time(one, f'time{index}')}"
                f"{_below(_key(('aligned task', 'model'), ('misaligned', 'now')) + figures.by_alignment(one, f'aligned{index}'))}{told}")

    lead = ("What moves is harder to imagine. Each dot is an imagined frame; broken line: a future in which nothing moves, below it "
            "imagining helps. Then both over time, with 95 % bands, where at least three episodes got so far (figure 12), and the change "
            "by task (figure 4: misaligned tasks are said to move less).")
    return section("change", "Change", lead, _cards(every, card))


def _collapse(every: Sequence[Mapping[str, Any]], films: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    def card(one: Mapping[str, Any], index: int) -> str:
        of = one["collapse"]
        rows = [["successes, false alarms", _rate(of["successes"])], ["failures that nobody froze", _rate(of["failures"])]]
        pictures = []
        for number, tried in enumerate(of["frozen"]):
            delay = "" if tried["delay_steps"] is None else f"; {tried['delay_steps']:.0f} steps after, at most {tried['delay_most']:.0f}"
            rows += [[f"frozen from step {tried['at']} on", _rate(tried["detected"]) + delay],
                     ["the same, alarms before it", _rate(tried["before"])],
                     ["area of the stillest stretch, frozen against successes", _number(tried["area"], False)]]
            if tried["change"]["frozen"]["steps"]:
                pictures.append(figures.frozen(tried, of["rule"]["share"], f"frozen{index}-{number}"))
        still = "".join(f'<p class="small below">Stalled steps of failures less their others, {what}: {_with(of, name)} deviations.</p>'
                        for name, what in (("consistency", "log C"), ("imagined", "imagined change")) if of[name] is not None)
        shown = (_key(("successes", "model"), ("frozen", "now")) + "".join(pictures)) if pictures else absent(
            "No evaluation with frozen episodes was given.", "foreact eval RUN consistency=latent freeze=0.2")
        strips = "".join(_film(film) for film in films[index])
        return f"{table(['called stalled', 'episodes'], rows)}{still}{_below(shown)}{strips}"

    rule = every[0]["collapse"]["rule"]
    lead = (f"A failure that stands still is easy to imagine (figures 3 and 15 of the paper). An episode is called stalled where "
            f"{rule['patience']} changes in a row lie below {rule['share']:g} of the median change of its task's successes, from other "
            "seeds. The rule is tried on episodes of the same policy whose robot was made to stop. If stalled steps have the higher log C, "
            "standing still passes for consistency. Bands: quartiles.")
    return section("collapse", "Background collapse", lead, _cards(every, card))


def _film(film: Mapping[str, Any]) -> str:
    if not film["moments"]:
        return ""
    words = f"{film['task']}, seed {film['seed']}: failed, stalled from step {film['since']} on; seen, and imagined for then"
    return _below(f'<p class="small">{escape(words)}</p>{figures.strip(film["moments"], words)}')


def _correction(every: Sequence[Mapping[str, Any]]) -> str:
    def card(one: Mapping[str, Any], index: int) -> str:
        of = one["correction"]
        rows = [[title, _with(of[kind], "difference"), _with(of[kind], "above_change") if kind != "change" else ""]
                for kind, title in (("ratio", "d / change"), ("residual", f"residual, b = {of['slope']:.2f}"), ("log", "control: log d"),
                                    ("change", "control: change"))]
        forced = "".join(_forced(tried) for tried in one["collapse"]["frozen"] if tried["scores"])
        told = table(["score", "AUC less plain's", "less that of change"], rows)
        said = (f'<p class="small below">Against the plain score: d / change {_VERDICT[of["ratio"]["verdict"]]}, '
                f'the residual {_VERDICT[of["residual"]["verdict"]]}.</p>')
        return f"{figures.corrections(one, f'correction{index}')}{told}{said}{forced}"

    lead = ("Does it help to divide out how hard the transition was? -log( d / (change + epsilon) ), and the residual of log d on log "
            "change; differences to the plain score on the same draws of seeds. A ratio that does no better than change alone owes what it "
            "says to failures that stand still, not to what was imagined.")
    return section("correction", "The corrected score", lead, _cards(every, card))


def _forced(tried: Mapping[str, Any]) -> str:
    rows = [[title, _number(tried["scores"][kind]["d"]), _number(tried["scores"][kind]["area"], False)]
            for kind, title in (("plain", "log C = -d"), ("ratio", "d / change"), ("residual", "residual"), ("change", "control: change"))]
    return _below(table([f"successes against {tried['name']}", "Cohen's d", "area"], rows))


def _value(every: Sequence[Mapping[str, Any]]) -> str:
    told = [one for one in every if one["value"] is not None]
    lead = ("Success less failure over time, within each task, of the value of the plans and of consistency (figure 5). Where both lie "
            "above zero, consistency could stand in for a value that a model lacks. A mean over an episode tells its length too: a value "
            "that rises on the way is highest in failures, which go on.")
    if not told:
        none = absent("No plan here has a value; recipes such as cosmos-policy and mv-wam give one.")
        return section("value", "Value and consistency", lead, none)

    def card(one: Mapping[str, Any], index: int) -> str:
        of, agrees = one["value"], one["value"]["agreement"]
        rows = [["Cohen's d of the mean value", _with(of, "d")], ["AUC of the mean value", _with(of, "auc", False)],
                [f"correlation of the two gaps over {agrees['steps']} steps", _with(agrees, "over_time")],
                ["rank correlation of an episode's two means", _with(agrees, "episodes")]]
        return f"{figures.value_and_consistency(one, f'value{index}')}{table([], rows)}"

    return section("value", "Value and consistency", lead, _cards(told, card))


def _against(every: Sequence[Mapping[str, Any]]) -> str:
    told = [one for one in every if one["against"] is not None]
    if not told:
        return section("against", "Early and late", "Whether selecting actions early keeps a rollout from stalling later (figure 13).",
                       absent("No evaluation to compare with was given.", "--against EVALUATION"))

    def card(one: Mapping[str, Any], index: int) -> str:
        of = one["against"]
        rows = [["succeeded", _rate(of["success"]["selected"]), _rate(of["success"]["plain"])],
                ["called stalled", _rate(of["stalled"]["selected"]), _rate(of["stalled"]["plain"])]]
        halves = [[name, _with(of[name], "early"), _with(of[name], "late")] for name in ("change", "consistency")]
        policy = "the same policy" if of["same_policy"] else "another policy, or the same under other settings"
        return (f"{figures.against(one, f'against{index}')}{table([str(of['pairs']) + ' pairs', 'this', of['name']], rows)}"
                f"{table(['difference', 'first half', 'second half'], halves)}"
                f'<p class="small">Less {escape(of["name"])}: {policy}; McNemar p = {of["success"]["p_value"]:.2g}.</p>')

    lead = ("This evaluation less the other one, on the same tasks and seeds, step by step while both are under way; in deviations of the "
            "other one's frames within the task, with 95 % bands (figure 13). Positive late: it goes on moving, or stays consistent, "
            "for longer.")
    return section("against", "Early and late", lead, _cards(told, card))
