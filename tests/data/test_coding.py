"""Coding: what a video's bytes depend on."""

import numpy as np
import pytest

from foreact.data.coding import VideoCodec, encode_video


class _Limited(VideoCodec):
    """The same settings on a processor with other instructions."""

    instructions: str

    @property
    def options(self) -> dict[str, str]:
        options = super().options
        return {**options, "x264-params": f"{options['x264-params']}:asm={self.instructions}"}


@pytest.mark.parametrize("instructions", ["0", "MMX2,SSE2Fast", "MMX2,SSE2Fast,SSSE3,SSE4.2"])
def test_the_bytes_of_a_video_do_not_depend_on_the_processor(instructions):
    draw, time = np.random.Generator(np.random.PCG64(0)), np.arange(40)
    row, column = np.mgrid[:32, :32]
    waves = np.sin(0.3 * row + 0.2 * time[:, None, None]) * np.cos(0.25 * column - 0.15 * time[:, None, None])
    frames = np.clip(128 + 90 * waves[..., None] + draw.normal(0, 6, (40, 32, 32, 3)), 0, 255).astype(np.uint8)
    limited = _Limited()
    object.__setattr__(limited, "instructions", instructions)
    assert encode_video(frames, fps=80, codec=limited) == encode_video(frames, fps=80, codec=VideoCodec())
