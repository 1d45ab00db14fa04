"""Evaluating the streams of one chunk: on top of what a cache holds, or all at once under the layout of training.

Both take `predict(x, level, k)`, streams of chunk k at a noise level, and `give(clean, k)`, clean tokens that later streams see. That
they agree is what makes streaming the same model that was trained; a test holds them to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from foreact.contract.axes import Backbone, Encoded, RollingCache
from foreact.contract.layout import Layout
from foreact.couplings.chunk_streams import PAST

__all__ = ["Cached", "Whole"]


class Cached:
    """Evaluates streams of one chunk on top of keys and values that are held."""

    def __init__(self, backbone: Backbone, encoded: Encoded, layout: Layout, cache: RollingCache) -> None:
        self.backbone, self.encoded, self.layout, self.cache = backbone, encoded, layout, cache

    def predict(self, x: Mapping[str, Tensor], level: Tensor, k: int) -> dict[str, Tensor]:
        earlier = [float(c) for c in range(k)]
        read = [*earlier, float(k)] if "action" in x else earlier  # the action, and it alone, reads this chunk's own video
        clocks: dict[str, list[float] | None] = {}
        for name in self.layout.names:
            if name in PAST:
                clocks[name] = None
            elif name in x:
                clocks[name] = [float(k)]
            elif self.layout[name].target is None:
                clocks[name] = earlier if name == "planned" else read
        predicted = self.backbone(x, self.layout.within(clocks), sigma=dict.fromkeys(x, level), cache=self.cache, **self.encoded.words)
        self.cache.forget(x)
        return predicted

    def give(self, clean: Mapping[str, Tensor], k: int) -> None:
        """Clean tokens of chunk k, which later streams see."""
        newer = self.backbone.new_cache()
        self.backbone(clean, self.layout.within({n: [float(k)] for n in clean}), sigma={}, cache=newer, **self.encoded.words)
        self.cache.append(newer)


class Whole:
    """Evaluates all streams at once under the layout of training; what is not known yet is zero and seen by nobody who is asked."""

    def __init__(self, backbone: Backbone, encoded: Encoded, layout: Layout, given: Mapping[str, Tensor]) -> None:
        self.backbone, self.encoded, self.layout = backbone, encoded, layout
        self.known = {s.name: encoded.frame.new_zeros(encoded.batch, s.length, s.channels + s.condition) for s in layout.streams}
        self.known |= given

    def predict(self, x: Mapping[str, Tensor], level: Tensor, k: int) -> dict[str, Tensor]:
        everything = self.known | {n: self._placed(n, value, k) for n, value in x.items()}
        sigma = {s.name: level for s in self.layout.streams if s.target is not None}
        predicted = self.backbone(everything, self.layout, sigma=sigma, **self.encoded.words)
        return {n: predicted[n][:, self.layout.clock(n) == k] for n in x}

    def give(self, clean: Mapping[str, Tensor], k: int) -> None:
        self.known |= {n: self._placed(n, value, k) for n, value in clean.items()}

    def _placed(self, name: str, value: Tensor, k: int) -> Tensor:
        whole = self.known[name].clone()
        whole[:, self.layout.clock(name) == k] = value
        return whole
