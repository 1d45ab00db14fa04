"""Whether parts fit each other: refused by name, with both sides and what would fit, before a weight is allocated."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from foreact.contract.axes import Backbone, Coupling, Dimensions, Regime, Substrate, SubstrateForm
from foreact.contract.config import Config, registered
from foreact.contract.errors import MisfitError, nearest
from foreact.contract.layout import Layout
from foreact.contract.specs import ActionSpec, ObservationSpec

__all__ = ["aligned_form", "of_alignment", "of_backbone", "of_codes", "of_fold", "of_mean", "of_regime", "of_states", "of_temporal",
           "of_view", "of_visual_state"]


def _name(config: Config) -> str:
    return type(config).owner.__name__


def of_backbone(backbone: Backbone.Config, coupling: Coupling.Config) -> None:
    """What the coupling requires, the backbone provides."""
    provides, required = type(backbone).owner.provides, coupling.requires()
    if required - provides:
        fitting = [n for n, c in registered(Backbone.Config).items() if required <= c.owner.provides]
        raise MisfitError(f"coupling {_name(coupling)} and backbone {_name(backbone)} do not fit", where="model.backbone",
                          found=f"{_name(coupling)} requires {', '.join(sorted(required))}; {_name(backbone)} "
                                f"provides {', '.join(sorted(provides))}",
                          accepted=", ".join(fitting), next_step=f"model.backbone={fitting[0]}" if fitting else "")


def of_view(view: Substrate.Config) -> None:
    """The present alone gives it."""
    if not type(view).owner.per_frame:
        raise MisfitError("the present cannot be seen through this substrate", where="model.view", found=_name(view),
                          accepted=", ".join(n for n, c in registered(Substrate.Config).items() if c.owner.per_frame),
                          next_step="model.view=PixelLatents")


def of_visual_state(visual: Substrate.Config | None, backbone: Backbone.Config) -> None:
    """The present alone gives it, and the backbone has a place for it."""
    if visual is None:
        return
    if not type(visual).owner.per_frame:
        raise MisfitError("the present alone does not give this substrate", where="model.visual_state", found=_name(visual),
                          accepted=", ".join(n for n, c in registered(Substrate.Config).items() if c.owner.per_frame))
    if "visual-state" not in type(backbone).owner.provides:
        raise MisfitError("this backbone has no place for a visual state", where="model.visual_state", found=_name(backbone),
                          accepted=", ".join(n for n, c in registered(Backbone.Config).items()
                                             if "visual-state" in c.owner.provides),
                          next_step="model.visual_state=null")


def aligned_form(stream: str, dimensions: Dimensions) -> SubstrateForm:
    """The form of a frame of a stream that may be aligned."""
    return {"frame": dimensions.view, **dimensions.forms}[stream]


def _of_taps(backbone: Backbone.Config) -> None:
    """It shows hidden states."""
    if "taps" not in type(backbone).owner.provides:
        raise MisfitError("this backbone shows no hidden states", where="model.backbone", found=_name(backbone),
                          accepted=", ".join(n for n, c in registered(Backbone.Config).items() if "taps" in c.owner.provides))


def of_states(stream: str, backbone: Backbone.Config, layout: Layout, dimensions: Dimensions, *, times: int, where: str) -> None:
    """Hidden states of the stream can be had and lie on a grid in each of its frames: `times` of a future, one of the present."""
    _of_taps(backbone)
    times = 1 if stream == "frame" else times
    known = [name for name in ("frame", *dimensions.forms) if name in layout]
    if stream not in known or layout[stream].length != times * aligned_form(stream, dimensions).tokens:
        raise MisfitError("the states of this stream do not lie on a grid of frames", where=where, found=stream,
                          accepted=", ".join(known), next_step=nearest(stream, known))


def of_alignment(stream: str, teacher: Substrate.Config, backbone: Backbone.Config, layout: Layout, dimensions: Dimensions, *,
                 times: int) -> None:
    """There are states to align that lie on a grid in each frame, and the teacher can be had for their frames."""
    _of_taps(backbone)

    def aligned(name: str) -> bool:
        found, frames = layout.where(name), 1 if name == "frame" else times
        return frames > 0 and found is not None and len(found[1]) == frames * aligned_form(name, dimensions).tokens

    known = [name for name in ("frame", *dimensions.forms) if aligned(name)]
    if stream not in known:
        raise MisfitError("the states of this stream do not lie on a grid of frames", where="model.alignment.stream", found=stream,
                          accepted=", ".join(known), next_step=nearest(stream, known))
    if stream == "frame" and not type(teacher).owner.per_frame:
        raise MisfitError("the present alone does not give this teacher", where="model.alignment.teacher",
                          found=_name(teacher), accepted="a substrate of single frames")


def of_temporal(backbone: Backbone.Config, layout: Layout, *, times: int) -> None:
    """There are states of the present and of frames to come."""
    _of_taps(backbone)
    later = layout.where("video")
    if layout.where("frame") is None or later is None or not times or len(later[1]) % times:
        raise MisfitError("nothing to be consistent over time", where="model.temporal", found=", ".join(layout.names),
                          accepted="a model with states of the present and of a future that is predicted", next_step="model.temporal=null")


def of_codes(parts: Mapping[str, Substrate.Config], coupling: Coupling.Config, observation: ObservationSpec) -> None:
    """A coupling that only denoises is given nothing discrete."""
    codes = [name for name, part in parts.items() if part.form(observation).discrete]
    if coupling.future_offsets and codes and not type(coupling).owner.discrete:
        raise MisfitError(f"coupling {_name(coupling)} cannot predict codes", where="model.substrate",
                          found=f"{', '.join(codes)} in {', '.join(_name(parts[name]) for name in codes)}",
                          accepted="a substrate of continuous values, or a coupling that draws codes: "
                                   + ", ".join(n for n, c in registered(Coupling.Config).items() if c.owner.discrete),
                          next_step="model.substrate=PixelLatents")


def of_fold(parts: Collection[Substrate.Config], coupling: Coupling.Config) -> None:
    """The frames that a substrate folds into one time divide the steps from offset to offset."""
    offsets, folds = coupling.future_offsets, sorted({type(part).owner.fold for part in parts} - {1})
    if not offsets or not folds:
        return
    if len(folds) > 1 or offsets[0] % folds[0] or any(offset != (i + 1) * offsets[0] for i, offset in enumerate(offsets)):
        better = [folds[0] * (i + 1) for i in range(len(offsets))]
        raise MisfitError("the future's offsets do not fit a substrate that folds frames", where="model.coupling.future_offsets",
                          found=f"{offsets}; {', '.join(map(str, folds))} frames become one",
                          accepted=f"even steps of a multiple of {folds[0]}",
                          next_step=f"model.coupling.future_offsets={better}".replace(" ", ""))


def of_regime(regime: Regime.Config, coupling: Coupling.Config) -> None:
    """The regime can use the horizon, the memory and the history that the coupling has."""
    regime.check(coupling.horizon)
    if type(regime).owner.persistent and not type(coupling).owner.persistent:
        raise MisfitError(f"regime {_name(regime)} and coupling {_name(coupling)} do not fit", where="model.regime",
                          found=f"{_name(regime)} carries a memory from call to call; {_name(coupling)} has none",
                          accepted=", ".join(n for n, c in registered(Regime.Config).items() if not c.owner.persistent))
    if regime.inpaints and not coupling.inpaints:
        raise MisfitError(f"regime {_name(regime)} and coupling {_name(coupling)} do not fit", where="model.regime.compensation",
                          found=f"{_name(coupling)} denoises no actions that could be held to those that are committed",
                          accepted="compensation drop or none, or a coupling that denoises its actions",
                          next_step="model.regime.compensation=drop")
    period = regime.period()
    if coupling.history > 1 and period != coupling.history_stride:
        raise MisfitError("the history is not what the regime looks at", where="model.coupling.history_stride",
                          found=f"observations {coupling.history_stride} steps apart; the regime calls every {period} steps",
                          accepted=period,
                          next_step=f"model.coupling.history_stride={period}" if period else "model.coupling.history=1")


def of_mean(regime: Regime.Config, action: ActionSpec) -> None:
    """A regime that averages actions is given actions that have a mean."""
    if type(regime).owner.averages and action.reference == "absolute" and action.rotation != "none":
        raise MisfitError(f"regime {_name(regime)} averages actions, and a mean of rotations is no rotation", where="model.regime",
                          found=f"absolute actions with rotation {action.rotation}", accepted="displacements, or actions without rotation",
                          next_step="model.regime=Asynchronous")
