"""The place of a model on the survey's axes, derived from what ran when it planned (survey, sections 3 and 4).

    substrate   what the action side read: a decoded future, latents with a fixed decoder, an embedding, geometry, a map; hidden states of
                a predictor that did not finish ("tap"), or of one whose future never ran ("encoder-only")
    backbone    how the future came about: denoised by one network, denoised or regressed by several experts that meet in attention
                (Hybrid), in the causal order of a stream (Autoregressive), as an embedding in one pass (Joint-embedding), or by a language
                trunk (LLM/VLM)
    coupling    in which order: actions given to the prediction (Cond. rollout), denoised together with it or next to it in one causal
                stream (Joint generation), or made after it, or without it (Post-prediction head)
    regime      how often it was called while an episode was driven

Two things cannot be seen in a run and are taken from the classes: the family of a substrate (`Substrate.kind` says what its numbers
mean) and that a trunk is a language model.
"""

from __future__ import annotations

from dataclasses import dataclass

from foreact.contract.axes import Memory, Regime
from foreact.contract.layout import Layout, Stream
from foreact.diagnostics.check import Check
from foreact.diagnostics.trace import BackboneCall, Trace
from foreact.model import WorldActionModel

__all__ = ["Derived", "accepted", "calls_per_step", "compare", "derive", "philosophies"]

ACTION = "action"


@dataclass(frozen=True, kw_only=True)
class Derived:
    """The 4-tuple of equation 37 and the philosophy of section 3, as seen. finished: the plan shows a whole future."""

    substrate: str
    backbone: str
    coupling: str
    regime: str
    philosophy: str
    decoded: bool
    finished: bool
    calls_per_step: float
    evaluations_per_step: float


def derive(model: WorldActionModel, trace: Trace, *, steps: int = 48) -> Derived:
    """Labels from a traced plan; the regime is driven for `steps` control steps."""
    calls = calls_per_step(model.regime, model.config.coupling.horizon, steps)
    decoded = bool(trace.names("decoded"))
    substrate = _substrate(model, trace)
    backbone = _backbone(model, trace)
    return Derived(
        substrate=substrate, backbone=backbone, coupling=_coupling(model, trace), regime=_regime(model.regime, calls, steps),
        philosophy=_philosophy(model, trace, backbone, decoded), decoded=decoded, finished=trace.plan.future is not None,
        calls_per_step=calls / steps,
        evaluations_per_step=trace.plan.cost.total * calls / steps)


# --- substrate ----------------------------------------------------------------------------------------------------------

def _substrate(model: WorldActionModel, trace: Trace) -> str:
    read = trace.names("read")
    if "tap" in read and trace.plan.future is None:
        return "Feature (tap)"
    if not read:
        return "Feature (encoder-only)"
    direct = [name for name in model.parts if name in _direct(model, trace)] or [n for n in model.parts if n in read]
    kinds = [_kind(model, trace, name) for name in direct]
    return " + ".join(dict.fromkeys(kinds)) or "Feature (tap)"


def _direct(model: WorldActionModel, trace: Trace) -> set[str]:
    """Parts of the future that the action looks at itself: what its tokens see in the backbone, or what its head is shown."""
    seen = set(trace.names("exposed"))
    for call in trace.calls:
        if ACTION in call.streams:
            seen |= {sight.stream for sight in call.layout.sees.get(ACTION, ())}
    return seen


def _kind(model: WorldActionModel, trace: Trace, name: str) -> str:
    """A substrate's own word, but a pixel is decoded only where a decoder ran."""
    kind = type(model.parts[name]).kind
    if kind.startswith("Pixel"):
        return "Pixel (decoded)" if name in trace.names("decoded") else "Pixel (latent)"
    return kind


# --- backbone -----------------------------------------------------------------------------------------------------------

def _backbone(model: WorldActionModel, trace: Trace) -> str:
    if type(model.backbone).family == "LLM/VLM":
        return "LLM/VLM"
    futures = [call for call in trace.calls if _future_streams(model, call)]
    if any(_is_causal(call.layout) for call in trace.calls) and len(trace.experts) < 2:
        return "Autoregressive"
    embeds = all(type(part).kind.startswith("Feature") for part in model.parts.values())
    if futures and embeds and not any(_noised(model, call) for call in futures):
        return "Joint-embedding"
    if len(trace.experts) > 1:
        return "Hybrid"
    if any(level > 0 for call in trace.calls for level in call.levels.values()):
        return "Diffusion"
    return "Joint-embedding" if embeds else "Hybrid"


def _future_streams(model: WorldActionModel, call: BackboneCall) -> set[str]:
    """Streams that predict a part of the future in this evaluation."""
    return {n for n in call.streams if n != ACTION and _asked(call.layout[n]) and n in model.parts}


def _asked(stream: Stream) -> bool:
    """Whether a prediction comes out of this stream: a target, or a query that a head reads."""
    return stream.target is not None or stream.query


def _noised(model: WorldActionModel, call: BackboneCall) -> bool:
    return any(call.levels.get(name, 0.0) > 0 for name in _future_streams(model, call))


def _is_causal(layout: Layout) -> bool:
    """Whether some stream sees only what is not later than itself."""
    return any(sight.when != "all" for sights in layout.sees.values() for sight in sights)


# --- coupling -----------------------------------------------------------------------------------------------------------

def _coupling(model: WorldActionModel, trace: Trace) -> str:
    futures = [i for i, call in enumerate(trace.calls) if _future_streams(model, call)]
    acted = [i for i, call in enumerate(trace.calls) if ACTION in call.streams and _asked(call.layout[ACTION])]
    given = [i for i, call in enumerate(trace.calls) if ACTION in call.streams and not _asked(call.layout[ACTION])]
    if given and futures and not acted:
        return "Cond. rollout"
    if acted and futures and acted[0] <= futures[-1] and futures[0] <= acted[-1] and any(_looks_across(model, c) for c in trace.calls):
        return "Joint generation"
    if acted and futures and len(trace.experts) < 2 and any(_is_causal(call.layout) for call in trace.calls):
        return "Joint generation"  # frames and actions are elements of one causal stream: one network gives them one after another
    if not futures and not acted and trace.plan.future is not None:
        return "Joint generation"  # the action is written into what is predicted, and has no stream of its own
    return "Post-prediction head"


def _looks_across(model: WorldActionModel, call: BackboneCall) -> bool:
    """Whether a future and an action that are both being denoised meet in this evaluation. Chunk by chunk they take turns: an action
    then reads a finished future, and the next chunk's future a finished action."""
    futures = {n for n in call.layout.names if n in model.parts and call.layout[n].target is not None}
    seen = {n: {sight.stream for sight in call.layout.sees.get(n, ())} for n in (*futures, ACTION)}
    return bool(seen[ACTION] & futures) or any(ACTION in seen[n] for n in futures)


# --- regime and philosophy ----------------------------------------------------------------------------------------------

def calls_per_step(regime: Regime, horizon: int, steps: int) -> int:
    """Calls while a regime is driven for `steps` control steps: counted, not declared."""
    import numpy as np

    memory = Memory()
    for _ in range(steps):
        if regime.due(memory):
            regime.receive(memory, np.zeros((horizon, 1), np.float32))
        regime.act(memory)
    return memory.calls


def _regime(regime: Regime, calls: int, steps: int) -> str:
    if regime.persistent:
        return "Interactive"
    if calls == 1:
        return "Open-loop"
    return "Single-step" if calls == steps else "Chunked"


def _philosophy(model: WorldActionModel, trace: Trace, backbone: str, decoded: bool) -> str:
    """Section 3: whether pixels were rendered before action, or a video model stopped before that, or none was there.

    A model whose futures hold no pixels and whose backbone is no denoiser of video has none.
    """
    if decoded:
        return "Render-and-Decode"
    pixels = any(type(part).kind.startswith("Pixel") for part in model.parts.values())
    geometric = any(type(part).kind in ("Geometric", "Affordance") for part in model.parts.values())
    return "Latent-Only" if pixels or (geometric and backbone == "Diffusion") else "Video-Generation-Free"


def philosophies(derived: Derived) -> set[str]:
    """What the survey may call it. It counts a joint model that finishes a future in decodable latents as rendering (GR-1) or as
    latent-only (UWM), by what the authors run; the run itself only tells whether a decoder was used."""
    if derived.finished and derived.substrate.startswith("Pixel"):
        return {"Render-and-Decode", derived.philosophy}
    return {derived.philosophy}


# --- comparison ---------------------------------------------------------------------------------------------------------

def accepted(stated: str) -> set[str]:
    """What a census cell allows: "Open / Chunked" is either, "Pixel (decoded / latent)" either of two."""
    if "(" in stated and "/" in stated[stated.index("("):]:
        head, inner = stated.rstrip(")").split("(")
        return {f"{head}({word.strip()})" for word in inner.split("/")}
    if stated in ("LLM/VLM",):
        return {stated}
    words = {word.strip() for word in stated.split(" / ")}
    return words | {f"{w}-loop" for w in words if w == "Open"} | ({"Autoregressive"} if "AR" in words else set())


def compare(derived: Derived, card: dict[str, str], census: dict[str, str] | None) -> Check:
    """The four axes as derived against the card, and the card against the census row."""
    figures, wrong = {}, []
    for axis in ("substrate", "backbone", "coupling", "regime"):
        found = getattr(derived, axis)
        figures[axis] = {"derived": found, "card": card[axis], "census": census[axis] if census else None}
        for source, stated in (("card", card[axis]), ("census", census[axis] if census else card[axis])):
            if found not in accepted(stated):
                wrong.append(f"{axis} ran as {found}, the {source} says {stated}")
    place = "(" + ", ".join(getattr(derived, axis) for axis in ("substrate", "backbone", "coupling", "regime")) + ")"
    return Check(name="axes", holds=not wrong, figures=figures, says="; ".join(wrong) or f"ran as {place}")
