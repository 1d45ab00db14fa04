"""The studies of MV-WAM as data: what its ablations vary, its own figures, its claims. Success as shares; sections 4.2 and 4.3."""

from __future__ import annotations

from foreact.cli.factor_study import Arm, FactorStudy, Family, Grid
from foreact.evaluation.claims import Claim

__all__ = ["FAMILY"]

_PAPER = {"clean": 0.840, "random": 0.557}
_MARGIN = 0.10
"""What ten episodes per task and three trainings can hope to tell from nothing; fixed before the first run."""


def _targets(video: str, action: str) -> tuple[str, ...]:
    return (f"model.coupling.video_target={video}", f"model.coupling.action_target={action}", f"model.coupling.value_target={action}")


TARGETS = FactorStudy(
    name="targets", title="Prediction targets", factor="what each expert predicts, and how its error is weighed",
    arms=(
        Arm(name="video velocity, action sample", paper=_PAPER),
        Arm(name="both velocity", train=_targets("velocity", "velocity"), paper={"random": 0.060}),
        Arm(name="both noise", train=_targets("noise", "noise"), paper={"random": 0.150}),
        Arm(name="weighted clean sample", train=("model.coupling.action_loss=velocity",)),
    ),
    claims=(
        Claim(says="a clean sample for action beats velocity for both, under Random", first="video velocity, action sample",
              second="both velocity", condition="random", paper=0.497),
        Claim(says="a clean sample for action beats velocity for both, under Clean", first="video velocity, action sample",
              second="both velocity", condition="clean"),
        Claim(says="a clean sample for action beats noise for both, under Random", first="video velocity, action sample",
              second="both noise", condition="random", paper=0.407),
        Claim(says="a clean sample for action beats noise for both, under Clean", first="video velocity, action sample",
              second="both noise", condition="clean"),
        Claim(says="a clean sample without the weight 1/sigma^2 beats one with it, under Clean (appendix F)",
              first="video velocity, action sample", second="weighted clean sample", condition="clean"),
    ))

STEPS = FactorStudy(
    name="steps", title="Denoising steps", factor="how many steps video and action are denoised in, with the same weights",
    arms=(
        Arm(name="5 steps", paper=_PAPER),
        Arm(name="1 step", evaluate=("model.coupling.steps=1",), paper={"clean": 0.665, "random": 0.364}),
        Arm(name="2 steps", evaluate=("model.coupling.steps=2",)),
        Arm(name="3 steps", evaluate=("model.coupling.steps=3",), paper={"clean": 0.96 * 0.840}),
        Arm(name="10 steps", evaluate=("model.coupling.steps=10",)),
    ),
    claims=(
        Claim(says="5 steps beat 1, under Clean", first="5 steps", second="1 step", condition="clean", paper=0.175),
        Claim(says="5 steps beat 1, under Random", first="5 steps", second="1 step", condition="random", paper=0.193),
        Claim(says="3 steps keep what 5 reach, under Clean", first="3 steps", second="5 steps", condition="clean", kind="no worse",
              margin=_MARGIN),
    ))


def _rollback(delta: float, **paper: float) -> Arm:
    return Arm(name=f"value, rollback at {delta:.2f}", evaluate=(f"rollback.delta={delta}",), spans=("rollback",), paper=paper)


VALUE = FactorStudy(
    name="value", title="Value tokens and rollback", factor="whether a value is learnt, and at what fall of it one turns back",
    arms=(
        Arm(name="value, no rollback"),
        Arm(name="no value", train=("model.coupling.value_target=null",), paper={"clean": 0.834, "random": 0.545}),
        _rollback(0.10), _rollback(0.20, **_PAPER), _rollback(0.30),
    ),
    claims=(
        Claim(says="value and rollback at 0.20 beat no value, under Clean", first="value, rollback at 0.20", second="no value",
              condition="clean", paper=0.006),
        Claim(says="value and rollback at 0.20 beat no value, under Random", first="value, rollback at 0.20", second="no value",
              condition="random", paper=0.012),
        Claim(says="learning a value does not cost success, under Clean", first="value, no rollback", second="no value",
              condition="clean", kind="no worse", margin=_MARGIN),
        Claim(says="a threshold of 0.10 does as well as 0.20, under Clean", first="value, rollback at 0.10",
              second="value, rollback at 0.20", condition="clean", kind="same", margin=_MARGIN),
        Claim(says="a threshold of 0.30 does as well as 0.20, under Clean", first="value, rollback at 0.30",
              second="value, rollback at 0.20", condition="clean", kind="same", margin=_MARGIN),
    ))

MASK = FactorStudy(
    name="mask", title="Mask and clock", factor="who sees whom, and how fast the action's rotary time runs",
    arms=(
        Arm(name="as published"),
        Arm(name="action blind to video",
            train=('model.coupling.sees={"action":["frame","state","action"],"state":["frame","state","action"]}',)),
        Arm(name="video sees action", train=('model.coupling.sees={"video":["frame","video","state","action"]}',)),
        Arm(name="action's clock unscaled", train=("model.coupling.action_pace=8.0",)),
    ),
    claims=(
        Claim(says="seeing the imagined video helps the action, under Clean", first="as published", second="action blind to video",
              condition="clean"),
        Claim(says="seeing the imagined video helps the action, under Random", first="as published", second="action blind to video",
              condition="random"),
        Claim(says="video that does not see the action serves it better, under Clean", first="as published", second="video sees action",
              condition="clean"),
        Claim(says="a shared clock serves better than one step of it per action, under Clean", first="as published",
              second="action's clock unscaled", condition="clean"),
    ))

VIDEO = FactorStudy(
    name="video", title="Video of stage one", factor="what video is learnt before a single action",
    arms=(
        Arm(name="Clean and Random"),
        Arm(name="Clean only", train=('training.stages.0.only={"condition":"clean"}',)),
        Arm(name="none", train=("training.stages.0.steps=1",)),
    ),
    claims=(
        Claim(says="action-free Random video helps under Random", first="Clean and Random", second="Clean only", condition="random"),
        Claim(says="a stage of video alone helps, under Clean", first="Clean and Random", second="none", condition="clean"),
        Claim(says="a stage of video alone helps, under Random", first="Clean and Random", second="none", condition="random"),
    ))

SHOTS = FactorStudy(
    name="shots", title="Zero and few shots", factor="how many demonstrations of a task never seen before it is fine-tuned on",
    arms=(
        Arm(name="zero-shot", shots=0, paper={"clean": 0.556, "random": 0.540}),
        Arm(name="1 shot", shots=1, paper={"clean": 0.573, "random": 0.563}),
        Arm(name="5 shots", shots=5, paper={"clean": 0.762, "random": 0.757}),
        Arm(name="10 shots", shots=10, paper={"clean": 0.771, "random": 0.746}),
    ),
    claims=(
        Claim(says="10 shots beat none, under Clean", first="10 shots", second="zero-shot", condition="clean", paper=0.215),
        Claim(says="10 shots beat none, under Random", first="10 shots", second="zero-shot", condition="random", paper=0.206),
        Claim(says="5 shots beat 1, under Clean", first="5 shots", second="1 shot", condition="clean", paper=0.189),
    ))

FAMILY = Family(
    name="mv-wam", recipe="mv-wam", studies=(TARGETS, STEPS, VALUE, MASK, SHOTS, VIDEO), grid=Grid(),
    # failures belong to the data of a value; Random serves stages that learn video alone
    collect=("condition=both", "keep_failures=true", "expert.astray_fraction=0.15"),
    demonstrations=" in Clean and as many in Random, some of them failures",
    source="the source ran RoboTwin 2.0 with a model of 1.9 B parameters, "
           "so its figures stand beside ours for the sign and the size of a difference, not for the level")
