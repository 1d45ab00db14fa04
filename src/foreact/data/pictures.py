"""PNG and JPEG, to and from arrays, through PyAV; lossless for 8-bit grey and RGB and 16-bit grey PNG."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

from foreact.contract.errors import DatasetError

__all__ = ["decode_picture", "encode_picture"]

_FORMATS = {(1, "uint8"): "gray", (3, "uint8"): "rgb24", (1, "uint16"): "gray16be"}
_MAGIC = {b"\x89PNG": "png", b"\xff\xd8\xff": "mjpeg"}


def encode_picture(image: np.ndarray) -> bytes:
    """(height, width, channels) -> PNG. Accepts uint8 with 1 or 3 channels, and uint16 with 1."""
    height, width, channels = image.shape
    pixel = _FORMATS.get((channels, image.dtype.name))
    if pixel is None:
        raise DatasetError("a picture of this form cannot be stored", where="image", found=f"{image.dtype} {image.shape}",
                           accepted="uint8 (h, w, 1 or 3) or uint16 (h, w, 1)")
    # A fresh context for each picture: PNG contexts keep state that spoils the next one.
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt, context.time_base = width, height, pixel, Fraction(1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image if channels == 3 else image[..., 0]), format=pixel)
    return b"".join(bytes(packet) for packet in context.encode(frame) + context.encode(None))


def decode_picture(data: bytes, channels: int, *, where: str) -> np.ndarray:
    """PNG or JPEG -> (height, width, channels), uint16 for a 16-bit grey PNG and uint8 otherwise."""
    name = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)
    if name is None:
        raise DatasetError("neither PNG nor JPEG", where=where, found=data[:8], accepted="PNG or JPEG bytes")
    context = av.CodecContext.create(name, "r")
    try:
        frames = context.decode(av.Packet(data)) + context.decode(None)
    except av.FFmpegError as error:
        raise DatasetError("a picture cannot be decoded; it may be cut off", where=where, found=error) from None
    if len(frames) != 1 or frames[0].is_corrupt:
        raise DatasetError("a picture cannot be decoded; it may be cut off", where=where, found=f"{len(frames)} frames")
    deep = channels == 1 and frames[0].format.name.startswith("gray16")
    image = frames[0].to_ndarray(format=_FORMATS[channels, "uint16" if deep else "uint8"])
    return image.reshape(*image.shape[:2], channels)
