"""The study of AGRA as data: which layers are aligned with what, its own figures, its claims. Success as shares.

Its four regimes are four conditions here: Clean is in distribution; Semantic, several things of which the instruction names one;
Instance, a thing of another size or shape; Random, other colours, textures, light and camera (the paper's Attribute). The paper's figures
are of a real humanoid: 80 against 34 in distribution, 27, 32 and 32 points more under the shifts. Attention and sensitivity are measured
on demonstrations of unseen seeds, against the mask of where hand meets object. Its human video, EgoDex, is here video of another arm on
the same joints; all arms take equally many steps, so those that watch it see fewer actions.
"""

from __future__ import annotations

import json

from foreact.cli.factor_study import Arm, FactorStudy, Family, Grid, Measure
from foreact.evaluation.claims import Claim

__all__ = ["FAMILY"]

_NONE = ("model.alignment=null",)
_WORDS = 'model.alignment.teacher.encoder={"type":"TextMatched","width":96,"depth":2}'
_TASKS = ("button-press-topdown", "window-open", "faucet-close")
_FRAMES = ("frames=24",)
_MEASURES = (
    Measure(name="attention in the mask, over chance", diagnosis="attention", path="figures.ratio.value", words=_FRAMES),
    Measure(name="without what instructions share", diagnosis="attention", path="figures.without_common.value", words=_FRAMES),
    Measure(name="centroid error of attention, cells", diagnosis="attention", path="figures.centroid.value", words=_FRAMES),
    Measure(name="sensitivity in the mask, over chance", diagnosis="intervention", path="figures.ratio.value", words=_FRAMES),
)
_GAINS = {"clean": 0.46, "semantic": 0.27, "instance": 0.32, "random": 0.32}

LAYERS = FactorStudy(
    name="layers", title="Where hidden states are aligned, and with what", measures=_MEASURES,
    factor="which layers of the video model are aligned with the teacher, with which teacher, and what the action then reads",
    arms=(
        Arm(name="aligned at 1/3", paper={"clean": 0.80}),
        Arm(name="not aligned", train=_NONE, paper={"clean": 0.34}),
        Arm(name="aligned at 1/2", train=("model.alignment.layers=[0.5]",)),
        Arm(name="aligned at 1/6, 1/3, 1/2", train=("model.alignment.layers=[0.167,0.333,0.5]",)),
        Arm(name="aligned at 1/3 with words", train=(_WORDS,)),
        Arm(name="bridge from 1/3 alone", train=("model.coupling.tapped=[0.333]",)),
    ),
    claims=(
        *(Claim(says=f"alignment at a third of the depth helps, under {condition.capitalize()}", first="aligned at 1/3",
                second="not aligned", condition=condition, paper=gain) for condition, gain in _GAINS.items()),
        Claim(says="a third of the depth is better than half, under Clean", first="aligned at 1/3", second="aligned at 1/2",
              condition="clean"),
        Claim(says="three layers at once are no better than one, under Clean", first="aligned at 1/3", second="aligned at 1/6, 1/3, 1/2",
              condition="clean", kind="no worse", margin=0.10),
        Claim(says="a teacher of what is where is better than one that is matched with words, under Clean", first="aligned at 1/3",
              second="aligned at 1/3 with words", condition="clean"),
        Claim(says="all levels feed the action better than the aligned one alone, under Clean", first="aligned at 1/3",
              second="bridge from 1/3 alone", condition="clean"),
        Claim(says="alignment brings the action's attention to where hand meets object", first="aligned at 1/3", second="not aligned",
              measure="attention in the mask, over chance"),
        Claim(says="alignment brings the centre of attention nearer", first="not aligned", second="aligned at 1/3",
              measure="centroid error of attention, cells"),
        Claim(says="alignment brings the action's sensitivity to where hand meets object", first="aligned at 1/3", second="not aligned",
              measure="sensitivity in the mask, over chance"),
    ))

TEACHER = FactorStudy(
    name="teacher", title="What hidden states are aligned with", factor="the teacher: an encoder, what a simulator knows, or none",
    needs=("depth", "segmentation"),
    arms=(
        Arm(name="self-distilled encoder"),
        Arm(name="not aligned", train=_NONE),
        Arm(name="oracle of semantics", train=("model.alignment.teacher=SemanticMasks",)),
        Arm(name="depth", train=("model.alignment.teacher=Depth",)),
    ),
    claims=(
        Claim(says="what a simulator knows of objects helps, under Clean", first="oracle of semantics", second="not aligned",
              condition="clean"),
        Claim(says="what a simulator knows of objects helps, under Random", first="oracle of semantics", second="not aligned",
              condition="random"),
        Claim(says="geometry in training alone helps, under Clean", first="depth", second="not aligned", condition="clean"),
        Claim(says="an encoder learnt on the dataset's frames helps, under Clean", first="self-distilled encoder", second="not aligned",
              condition="clean"),
    ))

_SHIFTS = ("semantic", "instance", "random")

VIDEO = FactorStudy(
    name="video", title="Video of another embodiment",
    factor="whether the video model also learns from films of another arm, whose actions it never sees, with and without alignment",
    arms=(
        Arm(name="aligned"),
        Arm(name="not aligned", train=_NONE),
        Arm(name="aligned, other arm's video", video=True),
        Arm(name="not aligned, other arm's video", train=_NONE, video=True),
    ),
    claims=(
        *(Claim(says=f"with alignment another arm's video helps, under {condition.capitalize()}", first="aligned, other arm's video",
                second="aligned", condition=condition) for condition in ("clean", *_SHIFTS)),
        *(Claim(says=f"without alignment it changes little, under {condition.capitalize()}", first="not aligned, other arm's video",
                second="not aligned", condition=condition, kind="same", margin=0.10) for condition in ("clean", *_SHIFTS)),
    ))

FAMILY = Family(
    name="agra", recipe="agra", studies=(LAYERS, TEACHER, VIDEO), video=("embodiment=tubes",),
    grid=Grid(tasks=_TASKS, conditions=("clean", "random", "semantic", "instance"), demonstrations=40, steps=320, episodes=5),
    collect=(), demonstrations="", evaluate=(f"environment.distractors={json.dumps(_TASKS)}",),
    source="the source's figures are of a humanoid robot and a model of some 2 B parameters, "
           "so its figures stand beside ours for the sign and the size of a difference, not for the level")
