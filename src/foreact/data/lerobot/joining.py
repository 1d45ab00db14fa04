"""Datasets into one: episodes copied in order, video packets moved without re-encoding where they stand alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from foreact.contract.errors import DatasetError
from foreact.contract.progress import track
from foreact.data.coding import VideoCodec, encode_video, exact_rate
from foreact.data.decoding import match_times
from foreact.data.lerobot.conventions import Specs
from foreact.data.lerobot.dataset import Dataset
from foreact.data.lerobot.episode import EncodedEpisode, episode_table
from foreact.data.lerobot.layout import AUTOMATIC
from foreact.data.lerobot.writer import DatasetWriter
from foreact.data.statistics import image_histogram, sampled_rows

__all__ = ["extract", "merge"]


def extract(dataset: Dataset, episode: int, *, codec: VideoCodec | None = None) -> EncodedEpisode:
    """One episode of a dataset as a value that a writer can take.

    Its video is copied packet by packet where the episode begins at a keyframe, and encoded anew with `codec` where not.
    """
    entry = dataset.episodes[episode]
    features = {key: feature for key, feature in dataset.info.features.items() if key not in AUTOMATIC}
    columns = {key: dataset.cells(key, episode) for key, feature in features.items() if feature.dtype != "video"}
    videos, histograms = {}, {}
    for key, feature in features.items():
        if not feature.is_visual:
            continue
        rows = sampled_rows(entry.length)
        pictures = dataset.pictures(key, episode, rows).transpose(0, 2, 3, 1)
        if pictures.dtype == np.uint8:
            histograms[key] = (image_histogram(pictures), len(rows))
        if feature.dtype == "video":
            videos[key] = _cut(dataset, episode, key) or encode_video(
                dataset.pictures(key, episode).transpose(0, 2, 3, 1), fps=dataset.info.fps, codec=codec or VideoCodec())
    texts = dataset.texts(np.arange(entry.first, entry.last + 1))
    tasks = tuple(dict.fromkeys(texts))
    return EncodedEpisode(length=entry.length, tasks=tasks, task_steps=np.array([tasks.index(text) for text in texts]),
                          table=episode_table(columns, entry.length, dataset.info.fps), videos=videos, histograms=histograms)


def _cut(dataset: Dataset, episode: int, key: str) -> bytes | None:
    """The packets of one episode as an MP4 of its own, or None where they lean on packets before or after it."""
    entry = dataset.episodes[episode]
    span, rate = entry.videos[key], exact_rate(dataset.info.fps)
    decoder = dataset.video(span.file)
    stamps = span.start + np.arange(entry.length) / dataset.info.fps
    numbers = match_times(decoder, stamps, fps=dataset.info.fps, where=f"episode {entry.index}, {key}")
    chosen = {round(decoder.times[number] * 1e6): place for place, number in enumerate(numbers)}
    buffer = io.BytesIO()
    with av.open(str(span.file)) as source, av.open(buffer, "w", format="mp4") as target:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.size]
        places = [chosen.get(round(float(packet.pts * stream.time_base) * 1e6)) for packet in packets]
        mine = [i for i, place in enumerate(places) if place is not None]
        contiguous = mine == list(range(mine[0], mine[0] + entry.length))
        if not contiguous or not packets[mine[0]].is_keyframe or places[mine[0]] != 0:
            return None
        delay = places[mine[0]] - round(packets[mine[0]].dts * stream.time_base * rate)
        output = target.add_stream_from_template(stream, opaque=True)
        output.time_base = 1 / rate
        for i in mine:
            packet = packets[i]
            dts = round(packet.dts * stream.time_base * rate) + delay
            packet.stream, packet.time_base = output, 1 / rate
            packet.pts, packet.dts, packet.duration = places[i], min(dts, places[i]), 1
            target.mux(packet)
    return buffer.getvalue()


def merge(sources: Sequence[Path | str], path: Path | str, *, specs: Specs | None = None, resume: bool = False) -> Path:
    """A new dataset at `path` holding all episodes of `sources`, in this order.

    Frame rates, features and specs must be equal; `DatasetError` names the first difference.
    """
    datasets = [Dataset.open(source) for source in sources]
    if not datasets:
        raise DatasetError("nothing to merge", where="merge")
    first = datasets[0]
    features = _features(first)
    for other in datasets[1:]:
        for what, ours, theirs in (("fps", first.info.fps, other.info.fps), ("features", features, _features(other)),
                                   ("specs", first.specs, other.specs)):
            if ours != theirs:
                raise DatasetError(f"the datasets differ in their {what}", where=str(other.root), found=theirs, accepted=ours,
                                   next_step="only datasets recorded alike can be merged")
    writer = DatasetWriter(path, fps=first.info.fps, features=features, robot_type=first.info.robot_type,
                           specs=specs or first.specs, resume=resume)
    plan = [(dataset, episode) for dataset in datasets for episode in range(len(dataset.episodes))]
    for index, (dataset, episode) in enumerate(track(plan, description="merging episodes")):
        if index not in writer.done:
            writer.add_encoded(extract(dataset, episode), index=index)
    return writer.finalize()


def _features(dataset: Dataset) -> dict:
    return {key: replace(feature, info=None) for key, feature in dataset.info.features.items() if key not in AUTOMATIC}

