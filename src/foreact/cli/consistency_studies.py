"""The studies of "Is the Future Compatible?" as data (2026, sections 3.1, 4 and 5, appendices F and G), for both of its families.

Joint prediction is the recipe of Cosmos Policy, inverse dynamics that of LingBot-VA. Of each, every arm is the same weights under
another way of acting, so trainings are few. Vanilla is one plan; selectors draw N candidates and take one. The first of them is the plan
of vanilla, so that "first of N" is vanilla itself and no arm; a choice by chance is the control that the source lacks. The source's
figures are of RoboCasa (66.6, consensus 67.3, exploring 68.0, weighted 64.9) and of RoboTwin 2.0 (90.2, 93.0, not possible, 86.4);
they stand beside Clean. RoboTwin 2.0 cannot put its world back, as Meta-World can.

Separability is asked of more episodes than the rest, which are vanilla alone, and once more of the first 40 steps, since episodes that
succeed end early. The last study spends about the same time of a plan on candidates and on denoising steps, in pairs that were chosen by
latency before the runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from foreact.cli.factor_study import Arm, FactorStudy, Family, Grid, Measure
from foreact.evaluation.claims import Claim

__all__ = ["FAMILIES", "GRID", "VANILLA"]

VANILLA = "vanilla"
_MARGIN = 0.10
"""What so few episodes can hope to tell from nothing; fixed before the first run."""
_WATCHED = 6
"""Episodes per task and condition from which separability is told."""
_TASKS = ("button-press-topdown", "window-open", "faucet-close", "door-close", "drawer-open", "plate-slide", "handle-press-side",
          "coffee-button")
_CONDITIONS = ("clean", "random")


@dataclass(frozen=True, kw_only=True)
class _Figures:
    """The source's, of one family, as shares. value: whether the model has one. steps: words for so many denoising steps."""

    d: float
    auc: float
    vanilla: float
    consensus: float
    weighted: float
    exploring: float | None
    value: bool
    steps: tuple[str, ...]


_JOINT = _Figures(d=0.76, auc=0.77, vanilla=0.666, consensus=0.673, weighted=0.649, exploring=0.680, value=True,
                  steps=("model.coupling.steps",))
_INVERSE = _Figures(d=0.99, auc=0.88, vanilla=0.902, consensus=0.930, weighted=0.864, exploring=None, value=False,
                    steps=("model.coupling.steps", "model.coupling.action_steps"))


def _selecting(selector: str, candidates: int, *more: str) -> tuple[str, ...]:
    return (f"selector={selector}", f"selector.candidates={candidates}", *more)


def _of(count: int, figures: _Figures) -> Arm:
    """Consensus among so many."""
    return Arm(name=f"consensus of {count}", evaluate=_selecting("Consensus", count), spans=("selector",),
               paper={"clean": figures.consensus} if count == 8 else {})


def _vanilla(figures: _Figures) -> Arm:
    return Arm(name=VANILLA, paper={"clean": figures.vanilla})


def _both(says: str, first: str, second: str, *, paper: float | None = None, same: bool = False, no_worse: bool = False) -> list[Claim]:
    """A claim under each condition; the source's figure stands beside Clean."""
    kind = "same" if same else "no worse" if no_worse else "better"
    return [Claim(says=f"{says}, under {condition.capitalize()}", first=first, second=second, condition=condition, kind=kind,
                  margin=None if kind == "better" else _MARGIN, paper=paper if condition == "clean" else None)
            for condition in _CONDITIONS]


def _separability(figures: _Figures) -> FactorStudy:
    whole, early = ("resamples=200",), ("resamples=200", "before=40")
    paths: list[tuple[str, str, tuple[str, ...], float | None]] = [
        ("d", "all.d", whole, figures.d), ("AUC", "all.auc", whole, None), ("AUC, aligned tasks", "aligned.auc", whole, figures.auc),
        ("d, first 40 steps", "all.d", early, None), ("AUC, first 40 steps", "all.auc", early, None),
        ("skill", "skill", whole, None), ("log C against change, Spearman", "change.spearman", whole, None)]
    if figures.value:
        paths += [("d of the value", "value.d", whole, None), ("AUC of the value", "value.auc", whole, None)]
    claims = [
        Claim(says="successes are the more consistent: d above 0", first=VANILLA, than=0.0, measure="d", paper=figures.d),
        Claim(says="consistency tells success from failure: AUC above 0.5", first=VANILLA, than=0.5, measure="AUC",
              paper=figures.auc - 0.5),
        Claim(says="and so from the first 40 steps: d above 0", first=VANILLA, than=0.0, measure="d, first 40 steps"),
        Claim(says="and so from the first 40 steps: AUC above 0.5", first=VANILLA, than=0.5, measure="AUC, first 40 steps")]
    if figures.value:
        claims.append(Claim(says="the value tells it too: d above 0", first=VANILLA, than=0.0, measure="d of the value"))
    return FactorStudy(
        name="separability", title="Does consistency tell success from failure?", factor="nothing: one plan at a time, watched",
        arms=(Arm(name=VANILLA, evaluate=(f"seeds_per_task={_WATCHED}",)),), claims=tuple(claims),
        measures=tuple(Measure(name=name, diagnosis="consistency", path=f"evaluations.0.{path}", words=words, of="evaluation",
                               paper={} if paper is None else {VANILLA: paper}) for name, path, words, paper in paths))


def _selectors(figures: _Figures) -> FactorStudy:
    def arm(name: str, selector: str, paper: float | None = None) -> Arm:
        return Arm(name=f"{name} of 8", evaluate=_selecting(selector, 8), spans=("selector",),
                   paper={} if paper is None else {"clean": paper})

    ours, chance = "consensus of 8", "random of 8"
    value = [arm("highest value", "HighestValue")] if figures.value else []
    claims = [
        *_both("consensus beats vanilla", ours, VANILLA, paper=figures.consensus - figures.vanilla),
        *_both("consensus beats a choice by chance", ours, chance),
        *_both("a choice by chance is as good as vanilla", chance, VANILLA, same=True),
        *_both("one candidate is better than their weighted mean", ours, "weighted of 8", paper=figures.consensus - figures.weighted),
        *_both("a weighted mean is worse than vanilla", VANILLA, "weighted of 8", paper=figures.vanilla - figures.weighted),
        *_both("executing every branch beats vanilla", "exploring of 8", VANILLA,
               paper=None if figures.exploring is None else figures.exploring - figures.vanilla)]
    if figures.value:
        claims += _both("consensus is as good as the value", ours, "highest value of 8", same=True)
    return FactorStudy(
        name="selectors", title="Which of eight candidates is carried out",
        factor="how one of eight sampled plans is chosen, with the same weights",
        arms=(_vanilla(figures), _of(8, figures), arm("random", "RandomChoice"), *value, arm("weighted", "Weighted", figures.weighted),
              arm("exploring", "Exploring", figures.exploring), arm("action consensus", "ActionConsensus"), arm("medoid", "Medoid")),
        claims=tuple(claims))


def _early(figures: _Figures) -> FactorStudy:
    third = "consensus of 8, first third"
    return FactorStudy(
        name="early", title="Selection in the first third of the episode", factor="until when there is a choice",
        arms=(_vanilla(figures), _of(8, figures),
              Arm(name=third, evaluate=_selecting("Consensus", 8, "selector.until=0.33"), spans=("selector",))),
        claims=(*_both("choosing in the first third does as well as throughout", third, "consensus of 8", no_worse=True),
                *_both("choosing in the first third beats vanilla", third, VANILLA)))


def _candidates(figures: _Figures) -> FactorStudy:
    return FactorStudy(
        name="candidates", title="Success against the number of candidates", factor="how many candidates consensus chooses among",
        arms=(_vanilla(figures), *(_of(count, figures) for count in (2, 4, 8, 16))),
        claims=(*_both("sixteen candidates beat one", "consensus of 16", VANILLA),
                *_both("eight candidates beat two", "consensus of 8", "consensus of 2")))


def _compute(figures: _Figures) -> FactorStudy:
    def steps(count: int) -> Arm:
        return Arm(name=f"{count} steps", evaluate=tuple(f"{word}={count}" for word in figures.steps))

    return FactorStudy(
        name="compute", title="Candidates or denoising steps", factor="what the time of a plan is spent on; vanilla denoises in 4 steps",
        arms=(_vanilla(figures), _of(2, figures), steps(8), _of(4, figures), steps(16)),
        claims=(*_both("two candidates buy more than twice the steps", "consensus of 2", "8 steps"),
                *_both("four candidates buy more than four times the steps", "consensus of 4", "16 steps")))


def _studies(figures: _Figures) -> tuple[FactorStudy, ...]:
    """In the order in which they are run: what is cut short is whole up to there."""
    return tuple(of(figures) for of in (_separability, _selectors, _early, _candidates, _compute))


GRID = Grid(tasks=_TASKS, held_out=(), demonstrations=20, steps=360, training_seeds=3, episodes=2, horizon=150)
_COLLECT = ("condition=both", "keep_failures=true", "expert.astray_fraction=0.15")
_DEMONSTRATIONS = " in Clean and as many in Random, some of them failures, which only a value learns from"
_WATCH = "consistency=latent"
FAMILIES = {
    "joint": Family(
        name="joint", recipe="cosmos-policy", studies=_studies(_JOINT), grid=GRID, collect=_COLLECT, demonstrations=_DEMONSTRATIONS,
        acting=("model.coupling.candidates=1", _WATCH), source="the source's figures are of Cosmos Policy (2 B parameters) on RoboCasa"),
    "inverse-dynamics": Family(
        name="inverse-dynamics", recipe="lingbot-va", studies=_studies(_INVERSE), grid=GRID, collect=_COLLECT,
        demonstrations=_DEMONSTRATIONS, acting=(_WATCH,),
        source="the source's figures are of LingBot-VA (5 B parameters) on RoboTwin 2.0"),
}
"""By the folder in which each lies."""
