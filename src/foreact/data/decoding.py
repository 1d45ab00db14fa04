"""Video, in: exactly the frames that were asked for by time, or an error; never a neighbour, never the first one again.

A decoder is a video file seen as numbered frames with presentation times. Opening lists the times of all packets
without decoding; reading seeks to a keyframe and decodes forward.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from foreact.contract.errors import ConfigError, DatasetError

__all__ = ["BACKENDS", "Decoder", "DecoderCache", "PyAVDecoder", "TorchcodecDecoder", "match_times"]

# A frame may lie this far from where its timestamp says, as a share of the time between frames.
TOLERANCE = 0.2


@cache
def _one_thread() -> dict[str, int]:
    """How a conversion is kept to one thread: newer releases of PyAV take as many as there are unless told, older ones know no others."""
    try:
        VideoReformatter().reformat(av.VideoFrame(16, 16, "yuv420p"), format="rgb24", threads=1)
    except TypeError:
        return {}
    return {"threads": 1}


class Decoder(ABC):
    """One open video file. `times`: seconds of every frame in display order."""

    path: Path
    times: np.ndarray

    @abstractmethod
    def read(self, indices: np.ndarray) -> np.ndarray:
        """Frames by number, in the order asked for -> uint8 (n, 3, height, width)."""

    @abstractmethod
    def close(self) -> None: ...


def match_times(decoder: Decoder, wanted: np.ndarray, *, fps: float, where: str) -> np.ndarray:
    """The frame number at each wanted time (seconds, one per distinct frame).

    Raises `DatasetError` where the nearest frame is more than `TOLERANCE` / fps away, or where two wanted times
    that differ meet the same frame.
    """
    times = decoder.times
    right = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    nearest = np.where(np.abs(times[right - 1] - wanted) <= np.abs(times[np.minimum(right, len(times) - 1)] - wanted),
                       right - 1, np.minimum(right, len(times) - 1))
    off = np.abs(times[nearest] - wanted)
    if off.max(initial=0.0) > TOLERANCE / fps:
        worst = int(off.argmax())
        raise DatasetError(
            "no frame at the time that the dataset states", where=f"{where} ({decoder.path})",
            found=f"nearest to {wanted[worst]:.4f} s is {times[nearest[worst]]:.4f} s; the file ends at {times[-1]:.4f} s",
            accepted=f"within {TOLERANCE / fps:.4f} s", next_step="the video is cut off, lacks frames or has another frame "
            "rate: run `foreact data check` on the dataset, then copy or export it again")
    if len(np.unique(nearest)) != len(np.unique(np.round(wanted * fps))):
        raise DatasetError("two frames of the dataset meet one frame of the video", where=f"{where} ({decoder.path})",
                           next_step="run `foreact data check` on the dataset")
    return nearest


def unreadable(path: Path, error: object) -> DatasetError:
    return DatasetError("the video cannot be decoded; it is cut off or damaged", where=str(path), found=str(error),
                        next_step="copy the dataset again; `foreact data check` lists all such files")


class PyAVDecoder(Decoder):
    """FFmpeg through PyAV, one thread, strict about damaged packets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise DatasetError("a video file is missing", where=str(path), next_step="copy the dataset again")
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
            self._stream.codec_context.options = {"err_detect": "explode"}
            self._stream.codec_context.thread_count = 1
            # One for the life of the file: a conversion set up anew for each frame costs more than decoding it.
            self._reformatter = VideoReformatter()
            packets = [(p.pts, p.is_keyframe, p.is_corrupt) for p in self._container.demux(self._stream) if p.size]
        except (av.FFmpegError, IndexError) as error:
            raise unreadable(path, error) from None
        if not packets or any(corrupt or pts is None for pts, _, corrupt in packets):
            raise unreadable(path, "packets are missing or damaged")
        if self._stream.frames and self._stream.frames != len(packets):
            raise unreadable(path, f"{len(packets)} of {self._stream.frames} frames are in the file")
        self._pts = np.sort(np.array([pts for pts, _, _ in packets], dtype=np.int64))
        self._keys = np.sort(np.array([pts for pts, key, _ in packets if key], dtype=np.int64))
        self.times = self._pts * float(self._stream.time_base)
        # The next frame that decoding would give, as a frame number; None: position unknown, seek first.
        self._next: int | None = None
        self._frames = iter(())

    def read(self, indices: np.ndarray) -> np.ndarray:
        wanted, back = np.unique(indices, return_inverse=True)
        context = self._stream.codec_context
        found = np.empty((len(wanted), 3, context.height, context.width), dtype=np.uint8)
        for place, index in enumerate(wanted):
            self._picture(int(index), found[place])
        return found if np.array_equal(wanted, indices) else found[back.reshape(-1)]

    def _picture(self, index: int, into: np.ndarray) -> None:
        """Decode forward to frame `index` and write it to `into` (3, height, width)."""
        target = self._pts[index]
        key = self._keys[np.searchsorted(self._keys, target, side="right") - 1]
        try:
            if self._next is None or self._next > index or self._pts[self._next] < key:
                self._container.seek(int(key), stream=self._stream)
                self._frames, self._next = self._container.decode(self._stream), None
            for frame in self._frames:
                if frame.pts is None or frame.is_corrupt:
                    raise unreadable(self.path, f"damaged near frame {index}")
                if frame.pts > target:
                    break
                self._next = int(np.searchsorted(self._pts, frame.pts)) + 1
                if self._next == len(self._pts):
                    self._next = None
                if frame.pts == target:
                    self._convert(frame, into)
                    return
        except av.FFmpegError as error:
            self._next = None
            raise unreadable(self.path, error) from None
        self._next = None
        raise unreadable(self.path, f"frame {index} does not come out of the decoder")

    def _convert(self, frame: av.VideoFrame, into: np.ndarray) -> None:
        if frame.format.name != "yuv444p":
            into[:] = self._reformatter.reformat(frame, format="rgb24", **_one_thread()).to_ndarray().transpose(2, 0, 1)
            return
        # Planes straight into place: the same values as by way of rgb24, in a third less time.
        planes = self._reformatter.reformat(frame, format="gbrp", **_one_thread()).planes
        for channel, plane in zip((1, 2, 0), planes, strict=True):
            into[channel] = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:frame.height, :frame.width]

    def close(self) -> None:
        self._frames = iter(())
        self._container.close()


class TorchcodecDecoder(Decoder):
    """torchcodec, where it is installed and finds an FFmpeg."""

    def __init__(self, path: Path) -> None:
        from torchcodec.decoders import VideoDecoder

        with_packets = PyAVDecoder(path)
        self.path, self.times = path, with_packets.times
        with_packets.close()
        try:
            self._decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="exact")
        except (RuntimeError, ValueError) as error:
            raise unreadable(path, error) from None

    def read(self, indices: np.ndarray) -> np.ndarray:
        try:
            batch = self._decoder.get_frames_at(indices=[int(index) for index in indices])
        except (RuntimeError, IndexError) as error:
            raise unreadable(self.path, error) from None
        start = float(self._decoder.metadata.begin_stream_seconds_from_content or 0.0)
        if np.abs(batch.pts_seconds.numpy() - start - (self.times[indices] - self.times[0])).max(initial=0.0) > 1e-3:
            raise unreadable(self.path, "the decoder returned frames of other times than asked for")
        return batch.data.numpy()

    def close(self) -> None:
        del self._decoder


BACKENDS: dict[str, type[Decoder]] = {"pyav": PyAVDecoder, "torchcodec": TorchcodecDecoder}


def backend(name: str) -> type[Decoder]:
    """`pyav`, `torchcodec`, or `auto`: torchcodec where it can be imported, else PyAV."""
    if name not in ("auto", *BACKENDS):
        raise ConfigError("unknown video decoder", where="decoder", found=name, accepted=", ".join(("auto", *BACKENDS)))
    if name == "pyav":
        return PyAVDecoder
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        if name == "auto":
            return PyAVDecoder
        raise ConfigError("torchcodec does not work here", where="decoder", found=str(error).splitlines()[0],
                          accepted="pyav", next_step="pip install torchcodec and a matching FFmpeg, or choose pyav") from None
    return TorchcodecDecoder


class DecoderCache:
    """At most `most` open videos, the least recently used closed first. Safe after a fork: children open their own."""

    def __init__(self, kind: type[Decoder], most: int = 8) -> None:
        self._kind, self._most, self._process = kind, most, os.getpid()
        self._open: OrderedDict[Path, Decoder] = OrderedDict()

    def get(self, path: Path) -> Decoder:
        if self._process != os.getpid():
            self._open, self._process = OrderedDict(), os.getpid()
        decoder = self._open.pop(path, None) or self._kind(path)
        self._open[path] = decoder
        while len(self._open) > self._most:
            self._open.popitem(last=False)[1].close()
        return decoder

    def __len__(self) -> int:
        return len(self._open)

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()
