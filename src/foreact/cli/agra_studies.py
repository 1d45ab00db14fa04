"""The study of AGRA as data: which layers are aligned with what, its own figures, its claims. Success as shares.

Clean is the paper's in-distribution regime, Random (colours, textures, lighting, camera) its shift of attributes. The paper's
figures are of a real humanoid: 80 against 34 in distribution, 32 points more under a shift of attributes. Its Semantic and
Instance regimes are not run here.
"""

from __future__ import annotations

from foreact.cli.factor_study import Arm, FactorStudy, Family, Grid
from foreact.evaluation.claims import Claim

__all__ = ["FAMILY"]

_NONE = ("model.alignment=null",)

LAYERS = FactorStudy(
    name="layers", title="Where hidden states are aligned", factor="which layers of the video model are aligned with the teacher",
    arms=(
        Arm(name="aligned at 1/3", paper={"clean": 0.80}),
        Arm(name="not aligned", train=_NONE, paper={"clean": 0.34}),
        Arm(name="aligned at 1/2", train=("model.alignment.layers=[0.5]",)),
        Arm(name="aligned at 1/6, 1/3, 1/2", train=("model.alignment.layers=[0.167,0.333,0.5]",)),
        Arm(name="bridge from 1/3 alone", train=("model.coupling.tapped=[0.333]",)),
    ),
    claims=(
        Claim(says="alignment at a third of the depth helps, under Clean", first="aligned at 1/3", second="not aligned", condition="clean",
              paper=0.46),
        Claim(says="alignment at a third of the depth helps, under Random", first="aligned at 1/3", second="not aligned",
              condition="random", paper=0.32),
        Claim(says="a third of the depth is better than half, under Clean", first="aligned at 1/3", second="aligned at 1/2",
              condition="clean"),
        Claim(says="three layers at once are no better than one, under Clean", first="aligned at 1/3", second="aligned at 1/6, 1/3, 1/2",
              condition="clean", kind="no worse", margin=0.10),
        Claim(says="all levels feed the action better than the aligned one alone, under Clean", first="aligned at 1/3",
              second="bridge from 1/3 alone", condition="clean"),
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

FAMILY = Family(
    name="agra", recipe="agra", studies=(LAYERS, TEACHER),
    grid=Grid(tasks=("button-press-topdown", "window-open", "faucet-close"), demonstrations=40, steps=320, episodes=6),
    collect=(), demonstrations="",
    source="the source's figures are of a humanoid robot and a model of some 2 B parameters")
