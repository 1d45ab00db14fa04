"""What predicting the future is good for: which auxiliary future leaves the best representation, and what imagining adds when acting.

Representation: the arms of GeoSem-WAM that act on the present alone and differ in what is predicted beside the action in training,
at equal training compute: every arm gets the floating-point operations that the reference took, so that a costlier objective gets fewer
steps, in a model two thirds as wide as the recipe's. The operations of teachers and substrates, which run once per frame and are stored,
are not counted. Three of them are also trained on a quarter of the demonstrations, with the same compute.

Imagination: the same weights of UWM, whose streams have noise levels of their own, so that a future that is imagined, unknown or given
is one that training has shown it. The true future is the scripted expert's from the same instant.
"""

from __future__ import annotations

from foreact.cli.factor_study import Arm, FactorStudy, Family, Grid, Measure
from foreact.evaluation.claims import Claim

__all__ = ["IMAGINATION", "REPRESENTATION"]

_RGB = "model.beside=[]"
_GEOMETRY = 'model.beside=[{"name":"geometry","substrate":{"type":"Depth","grid":[2,2],"detail":8}}]'
_SEMANTICS = 'model.beside=[{"name":"semantics","substrate":{"type":"SemanticMasks","grid":[2,2],"detail":8}}]'
_FEATURES = '{"type":"FrozenFeatures","grid":[4,4],"encoder":{"type":"SelfDistilled","width":96,"depth":2}}'
_OBJECTIVES: dict[str, tuple[str, ...]] = {
    "geometry and semantics": (),
    "pictures alone": (_RGB,),
    "geometry": (_GEOMETRY,),
    "semantics": (_SEMANTICS,),
    "alignment": (_RGB, f'model.alignment={{"type":"Alignment","stream":"frame","teacher":{_FEATURES}}}'),
    "temporal consistency": (_RGB, 'model.temporal={"type":"TemporalConsistency"}'),
    "features alone": (_RGB, f"model.substrate={_FEATURES}", 'model.view={"type":"PixelLatents","floor":3.0}',
                       "model.coupling.video_space=frames"),
}
"""What each predicts beside the pictures of the future; the last in their place."""
_PROBE = ("stream=frame", "layers=[3]", "layer=3", "frames=200", "teacher=none", "tsne=false")
"""Of four layers, the states after the third are the last that the action reads."""
_MEASURES = tuple(Measure(name=name, diagnosis="features", path=f"probes.3.{probe}.value", words=_PROBE) for name, probe in (
    ("object's place, R2", "position"), ("segmentation, IoU", "segmentation"), ("coming action, R2", "action")))


def _claims(other: str, says: str) -> tuple[Claim, ...]:
    """That a further objective helps, against the pictures' future alone."""
    return tuple(Claim(says=f"{says} {'helps' if other != 'features alone' else 'do better'}, under {condition.capitalize()}",
                       first=other, second="pictures alone", condition=condition) for condition in ("clean", "random"))


OBJECTIVES = FactorStudy(
    name="objectives", title="What is predicted beside the action in training", equal="flops",
    factor="what the model predicts in training beside the action; all act on the present alone",
    needs=("depth", "segmentation"), measures=_MEASURES,
    arms=tuple(Arm(name=name, train=words) for name, words in _OBJECTIVES.items()),
    claims=(
        *_claims("geometry and semantics", "predicting geometry and semantics as well"),
        *_claims("geometry", "predicting geometry as well"), *_claims("semantics", "predicting semantics as well"),
        *_claims("alignment", "alignment with an encoder"), *_claims("temporal consistency", "temporal consistency"),
        *_claims("features alone", "features in place of pictures"),
        Claim(says="geometry and semantics leave more of the object's place in the states", first="geometry and semantics",
              second="pictures alone", measure="object's place, R2"),
        Claim(says="alignment leaves more of the object's place in the states", first="alignment", second="pictures alone",
              measure="object's place, R2"),
    ))

_FEW = ("geometry and semantics", "pictures alone", "alignment")
"""Those of the objectives that are also learnt from few demonstrations."""

FEW = FactorStudy(
    name="few", title="The same objectives on a quarter of the demonstrations", equal="flops",
    factor="what the model predicts in training beside the action, with a quarter of the demonstrations and the same compute",
    needs=("depth", "segmentation"), measures=_MEASURES,
    arms=(Arm(name="geometry and semantics, all demonstrations"),
          Arm(name="pictures alone, all demonstrations", train=(_RGB,)),
          *(Arm(name=name, train=("windows.share=0.25", *_OBJECTIVES[name])) for name in _FEW)),
    claims=(
        *_claims("geometry and semantics", "with few demonstrations, predicting geometry and semantics as well"),
        *_claims("alignment", "with few demonstrations, alignment with an encoder"),
        Claim(says="four times the demonstrations help geometry and semantics, under Clean",
              first="geometry and semantics, all demonstrations", second="geometry and semantics", condition="clean"),
        Claim(says="four times the demonstrations help pictures alone, under Clean", first="pictures alone, all demonstrations",
              second="pictures alone", condition="clean")))

REPRESENTATION = Family(
    name="representation", recipe="geosem-wam", studies=(OBJECTIVES, FEW),
    grid=Grid(tasks=("button-press-topdown", "window-open", "faucet-close"), demonstrations=40, steps=300, episodes=5,
              settings=("model.backbone.width=128", "model.backbone.head_dim=32")),
    collect=(), demonstrations="", source="nobody has run this comparison before, so no other figures stand beside these")

_UNSEEN = 'model.coupling.sees={"video":["frame","video"],"action":["frame","state","action"],"state":["frame","state"]}'

INFERENCE = FactorStudy(
    name="inference", title="What imagining adds when acting",
    factor="what the action sees of the future when acting, with the same weights",
    arms=(
        Arm(name="denoised together"),
        Arm(name="denoised before", evaluate=("model.coupling.order=future-first",)),
        Arm(name="denoised once, before", evaluate=("model.coupling.order=future-first", "model.coupling.future_steps=1")),
        Arm(name="left as noise", evaluate=("model.coupling.future_at_test=noise",)),
        Arm(name="masked", evaluate=(_UNSEEN, "model.coupling.future_at_test=absent")),
        Arm(name="the true one", evaluate=("foresight=expert",), spans=("foresight",)),
    ),
    claims=tuple(claim for condition in ("clean", "random") for claim in (
        Claim(says=f"a future that is denoised helps against noise, under {condition.capitalize()}", first="denoised together",
              second="left as noise", condition=condition),
        Claim(says=f"a future helps against none, under {condition.capitalize()}", first="denoised together", second="masked",
              condition=condition),
        Claim(says=f"denoising it once is no worse than to the end, under {condition.capitalize()}", first="denoised once, before",
              second="denoised before", condition=condition, kind="no worse", margin=0.10),
        Claim(says=f"the true future is better than the imagined, under {condition.capitalize()}", first="the true one",
              second="denoised together", condition=condition))))

IMAGINATION = Family(
    name="imagination", recipe="uwm", studies=(INFERENCE,),
    grid=Grid(tasks=("button-press-topdown", "window-open", "faucet-close"), demonstrations=40, steps=450, episodes=8),
    collect=(), demonstrations="", source="nobody has run this comparison before, so no other figures stand beside these")
