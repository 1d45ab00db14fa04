"""Video, out: one episode to H.264 or AV1 packets, and packets of many episodes into one file without re-encoding."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np

from foreact.contract.errors import ConfigError, DatasetError

__all__ = ["VideoCodec", "VideoJoiner", "encode_video", "exact_rate"]

_ENCODERS = {"h264": "libx264", "av1": "libsvtav1"}


@dataclass(frozen=True, kw_only=True)
class VideoCodec:
    """How frames are stored. The default keeps full colour, and any frame is at most 8 frames away from a keyframe.

    4:2:0 halves the colour resolution in both directions, which caps fidelity near 32 dB on small rendered frames.
    There are no B-frames, so packets of several episodes follow one another in one file.
    """

    codec: Literal["h264", "av1"] = "h264"
    crf: int = 18
    pixel_format: Literal["yuv444p", "yuv420p"] = "yuv444p"
    keyframe_every: int = 8
    preset: str = ""
    threads: int = 1

    def __post_init__(self) -> None:
        if self.codec not in _ENCODERS:
            raise ConfigError("unknown codec", where="codec.codec", found=self.codec, accepted=", ".join(_ENCODERS))
        if self.codec == "av1" and self.pixel_format != "yuv420p":
            raise ConfigError("the AV1 encoder has no full-colour mode", where="codec.pixel_format", found=self.pixel_format,
                              accepted="yuv420p", next_step="VideoCodec(codec='av1', pixel_format='yuv420p', crf=30)")
        if self.keyframe_every < 1:
            raise ConfigError("must be at least 1", where="codec.keyframe_every", found=self.keyframe_every)

    @property
    def options(self) -> dict[str, str]:
        if self.codec == "av1":
            return {"crf": str(self.crf), "preset": self.preset or "8",
                    "svtav1-params": f"pred-struct=1:lp={self.threads}:scd=0"}
        # Left alone, x264 chooses among algorithms by the instructions of the processor, and their decisions differ:
        # the same pictures would make other bytes on another machine.
        return {"crf": str(self.crf), "preset": self.preset or "fast",
                "x264-params": f"scenecut=0:bframes=0:keyint={self.keyframe_every}:min-keyint={self.keyframe_every}"
                               ":cpu-independent=1"}


def exact_rate(fps: float) -> Fraction:
    """29.97 -> 30000/1001, 10 -> 10."""
    rate = Fraction(fps).limit_denominator(1001)
    return next((r for r in (Fraction(round(fps)), Fraction(round(fps) * 1000, 1001)) if abs(float(r) - fps) < 5e-3), rate)


def encode_video(frames: np.ndarray, *, fps: float, codec: VideoCodec) -> bytes:
    """uint8 (n, height, width, 3) -> an MP4 file whose frame i is at time i / fps, the first one a keyframe."""
    os.environ.setdefault("SVT_LOG", "1")
    count, height, width, _ = frames.shape
    if codec.pixel_format == "yuv420p" and (height % 2 or width % 2):
        raise DatasetError("4:2:0 video needs even sizes", where="images", found=f"{height} x {width}",
                           next_step="render at an even size, or choose pixel_format='yuv444p'")
    rate = exact_rate(fps)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(_ENCODERS[codec.codec], rate=rate, options=codec.options)
        stream.width, stream.height, stream.pix_fmt = width, height, codec.pixel_format
        stream.time_base = stream.codec_context.time_base = 1 / rate
        stream.codec_context.gop_size = codec.keyframe_every
        stream.codec_context.thread_count = codec.threads
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frames[index]), format="rgb24")
            frame.pts, frame.time_base = index, 1 / rate
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return buffer.getvalue()


class VideoJoiner:
    """Appends whole encoded episodes to video files, and says where each one lies.

    A new file begins when the old one would grow beyond `limit` bytes, or when codec, size or codec headers differ.
    """

    def __init__(self, files: Iterator[Path], *, fps: float, limit: int) -> None:
        self._files, self._rate, self._limit = files, exact_rate(fps), limit
        self._output: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._signature: tuple | None = None
        self._bytes = self._frames = self._last_dts = 0
        self.file: Path | None = None

    def append(self, video: bytes, *, length: int, where: str) -> tuple[Path, float, float]:
        """Copy the packets of `video`; return the file and the seconds [start, stop) that they take in it."""
        with av.open(io.BytesIO(video)) as source:
            stream = source.streams.video[0]
            packets = [packet for packet in source.demux(stream) if packet.size]
            if len(packets) != length or not packets[0].is_keyframe:
                raise DatasetError("the video of an episode does not hold its frames", where=where,
                                   found=f"{len(packets)} packets", accepted=f"{length}, the first one a keyframe")
            step = 1 / (self._rate * stream.time_base)
            first = min(packet.pts for packet in packets)
            context = stream.codec_context
            signature = (context.name, context.width, context.height, context.pix_fmt, bytes(context.extradata or b""))
            times = [(round((p.pts - first) / step), round((p.dts - first) / step)) for p in packets]
            if sorted(pts for pts, _ in times) != list(range(length)):
                raise DatasetError("the frames of an episode are not evenly spaced", where=where,
                                   next_step="run `foreact data check` on the source")
            size = sum(packet.size for packet in packets)
            if (self._output is None or signature != self._signature or self._bytes + size > self._limit
                    or self._frames + times[0][1] <= self._last_dts):
                self._begin(stream, signature)
            assert self._output is not None and self._stream is not None and self.file is not None
            start = self._frames
            for packet, (pts, dts) in zip(packets, times, strict=True):
                packet.stream, packet.time_base = self._stream, 1 / self._rate
                packet.pts, packet.dts, packet.duration = start + pts, start + dts, 1
                self._last_dts = start + dts
                self._output.mux(packet)
            self._bytes, self._frames = self._bytes + size, start + length
        return self.file, float(start / self._rate), float(self._frames / self._rate)

    def _begin(self, template: av.VideoStream, signature: tuple) -> None:
        self.close()
        self.file = next(self._files)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._output = av.open(str(self.file), "w", format="mp4")
        self._stream = self._output.add_stream_from_template(template, opaque=True)
        self._stream.time_base = 1 / self._rate
        self._signature, self._bytes, self._frames, self._last_dts = signature, 0, 0, -1_000_000

    def close(self) -> None:
        """Finish the file that is open."""
        output, self._output = self._output, None
        if output is not None:
            output.close()
