"""The streams of chunked autoregression as plain data: clean ones, noisy ones, and a clock of chunks that says who sees whom.

Chunk k spans the control steps from call k on; k = 0 is the one that begins at the present. Past chunks are as long as the regime's
period, chunks to come hold `horizon / chunks` actions and one frame at their end. The clock of a token is the chunk in which it becomes
known: an observation belongs to the chunk that ended with it, so the present is of chunk -1.

    clean, real      frame (chunks -h .. -1), state (the same), done (actions that were executed, chunks -h+1 .. -1)
    clean, to come   VIDEO_shown (the end frame of chunk k as the action reads it), planned (the actions of chunk k, executed)
    noisy            VIDEO (the end frame of chunk k), action (the actions of chunk k)

A clean token sees its own chunk alone. So a chunk that has left the memory leaves no trace in what stays, and keys that are kept from
call to call are those that training computes. Noisy video of chunk k sees clean tokens of chunks < k and itself; noisy actions of chunk
k see the same and VIDEO_shown of chunk k. Nothing sees its own clean copy or anything later.
"""

from __future__ import annotations

from foreact.contract.axes import Dimensions
from foreact.contract.layout import Layout, Sight, Stream, Target

__all__ = ["PAST", "chunk_layout", "shown"]

PAST = ("frame", "state", "done")
"""What was really seen and done: the memory."""


def shown(name: str) -> str:
    """The stream in which the action reads a part of the future."""
    return f"{name}_shown"


def chunk_layout(dimensions: Dimensions, *, horizon: int, chunks: int, history: int, stride: int, future: bool, video_target: Target,
                 action_target: Target, video_weight: float, action_weight: float) -> Layout:
    """One unit of rotary time is one chunk to come. `future`: whether frames are predicted; then one for each of the `chunks`."""
    view, length = dimensions.view, horizon // chunks
    unit = stride / length
    ahead = range(chunks)

    def actions(first: int, count: int, of: int, scale: float) -> dict[str, tuple]:
        return {"positions": tuple(((c + (i + 0.5) / of) * scale, 0.0, 0.0) for c in range(first, first + count) for i in range(of)),
                "clock": tuple(float(c) for c in range(first, first + count) for _ in range(of))}

    seen = range(-history, 0)
    streams = [
        Stream(name="frame", channels=view.channels, expert="video", condition=1,
               positions=sum((view.positions((b + 1) * unit) for b in seen), ()),
               clock=tuple(float(b) for b in seen for _ in range(view.tokens))),
        Stream(name="state", channels=dimensions.state, expert="action", condition=1,
               positions=tuple(((b + 1) * unit, 0.0, 0.0) for b in seen), clock=tuple(float(b) for b in seen))]
    if history > 1:
        streams.append(Stream(name="done", channels=dimensions.action, expert="action", condition=1,
                              **actions(1 - history, history - 1, stride, unit)))
    parts = dimensions.forms if future else {}
    for name, form in parts.items():
        beside = name in dimensions.in_view
        where = {"positions": sum((form.positions(k + 1.0) for k in ahead), ()),
                 "clock": tuple(float(k) for k in ahead for _ in range(form.tokens))}
        streams += [
            Stream(name=name, channels=form.channels, expert="video", target=video_target, noise=name, weight=video_weight,
                   condition=form.channels if beside else 0, **where),
            Stream(name=shown(name), channels=form.exposed.channels, expert="video", noise=shown(name),
                   condition=form.exposed.channels if beside else 0, **where)]
    if chunks > 1:
        streams.append(Stream(name="planned", channels=dimensions.action, expert="action", condition=1,
                              **actions(0, chunks - 1, length, 1.0)))
    streams.append(Stream(name="action", channels=dimensions.action, expert="action", target=action_target, noise="action",
                          weight=action_weight, **actions(0, chunks, length, 1.0)))
    names = {s.name for s in streams}
    sees = {"frame": (Sight("frame", "same"),), "state": (Sight("frame", "same"), Sight("state", "same")), "done": (Sight("done", "same"),),
            "planned": (Sight("planned", "same"),)}
    sees |= {shown(name): (Sight(shown(name), "same"),) for name in parts}
    dreamt = tuple(Sight(shown(name), "past") for name in parts)
    before = tuple(Sight(name, "past") for name in ("frame", "done", "planned"))
    sees |= {name: (*before, *dreamt, *(Sight(other, "same") for other in parts)) for name in parts}
    sees["action"] = (*before, Sight("state", "past"), *(Sight(shown(name), "causal") for name in parts), Sight("action", "same"))
    sees = {name: tuple(sight for sight in sights if sight.stream in names) for name, sights in sees.items() if name in names}
    newest = (history - 1) * view.tokens
    return Layout(streams=tuple(streams), sees=sees, holds={"frame": ("frame", tuple(range(newest, newest + view.tokens)))})
