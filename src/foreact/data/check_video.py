"""The preflight check of pictures: files, frame counts, frame rates, repeated frames, stored statistics."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from foreact.contract.errors import ForeactError
from foreact.contract.progress import meter
from foreact.data.decoding import TOLERANCE, match_times
from foreact.data.findings import Finding
from foreact.data.lerobot.dataset import Dataset
from foreact.data.statistics import histogram_statistics, image_histogram, sampled_rows

__all__ = ["check_videos"]

_PART = 128


def check_videos(dataset: Dataset, *, decode: bool) -> list[Finding]:
    """Findings about every picture feature. A broken file is named once, whatever number of episodes it holds."""
    found: list[Finding] = []
    keys = [key for key, feature in dataset.info.features.items() if feature.is_visual]
    with meter("checking pictures", len(keys) * len(dataset.episodes)) as progress:
        for key in keys:
            broken: set[Path] = set()
            shared = Counter(episode.videos[key].file for episode in dataset.episodes if key in episode.videos)
            watch = Watch(dataset, key)
            for place, episode in enumerate(dataset.episodes):
                span = episode.videos.get(key)
                file = episode.data_file if span is None else span.file
                if file not in broken:
                    try:
                        if span is not None:
                            found += _spacing(dataset, key, place, alone=shared[file] == 1)
                        if decode:
                            watch.look(place)
                    except ForeactError as error:
                        broken.add(file)
                        found.append(Finding.of(error, "video"))
                progress.advance()
            found += watch.findings()
    return found


def _spacing(dataset: Dataset, key: str, place: int, *, alone: bool) -> list[Finding]:
    """Are the frames of one episode where its timestamps say? alone: the file holds no other episode."""
    episode, fps = dataset.episodes[place], dataset.info.fps
    span = episode.videos[key]
    where = f"{key}, episode {episode.index} ({span.file})"
    times = dataset.video(span.file).times
    inside = times[(times > span.start - 0.5 / fps) & (times < span.start + (episode.length - 0.5) / fps)]
    found = []
    if len(inside) > 1:
        rate = 1 / float(np.median(np.diff(inside)))
        if abs(rate / fps - 1) > 0.01:
            found.append(Finding(severity="fatal", kind="fps", what=f"the video runs at {rate:.4g} fps, the dataset states {fps:g}",
                                 where=where, advice="correct fps in info.json, or export the dataset again"))
            return found
    if len(inside) != episode.length:
        found.append(Finding(severity="fatal", kind="frame-count", what=f"{len(inside)} frames in the video for {episode.length} rows",
                             where=where, advice="frames are missing or surplus: export this episode again"))
        return found
    stamps = span.start + dataset.rows("timestamp", place).astype(np.float64)
    numbers = match_times(dataset.video(span.file), stamps, fps=fps, where=where)
    off = float(np.abs(times[numbers] - stamps).max()) * fps
    if off > 0.02:
        found.append(Finding(severity="warning", kind="fps", what=f"frames lie up to {off:.3f} of a frame from their timestamps "
                             f"({TOLERANCE:g} is refused)", where=where, advice="usable; the recording clock was not exact"))
    if alone and len(times) != episode.length:
        found.append(Finding(severity="warning", kind="frame-count", what=f"{len(times)} frames in the video for {episode.length} rows",
                             where=where, advice="the surplus is never used"))
    return found


class Watch:
    """Looks at every frame of one picture feature once."""

    def __init__(self, dataset: Dataset, key: str) -> None:
        self._dataset, self._key = dataset, key
        self._same: dict[int, tuple[int, int]] = {}
        self._histogram, self._counted = np.zeros((dataset.feature(key).shape[2], 256), dtype=np.int64), 0
        features = dataset.info.features
        self._state = next((name for name in ("observation.state", "action") if name in features), None)

    def look(self, place: int) -> None:
        """Decode one episode: count the frames equal to the one before although the robot moved."""
        episode = self._dataset.episodes[place]
        moving = np.ones(episode.length, dtype=bool)
        if self._state is not None:
            values = self._dataset.rows(self._state, place).reshape(episode.length, -1)
            moving[1:] = (values[1:] != values[:-1]).any(1)
        chosen = set(sampled_rows(episode.length).tolist())
        last, same = None, 0
        for start in range(0, episode.length, _PART):
            indices = np.arange(start, min(start + _PART, episode.length))
            frames = self._dataset.pictures(self._key, place, indices)
            before = frames[:1] if last is None else last
            equal = (frames == np.concatenate([before, frames[:-1]])).all(axis=(1, 2, 3))
            equal[0] &= last is not None
            same += int((equal & moving[indices]).sum())
            last = frames[-1:]
            if frames.dtype == np.uint8:
                sample = frames[[i - start for i in indices if i in chosen]]
                self._histogram += image_histogram(sample.transpose(0, 2, 3, 1))
                self._counted += len(sample)
        self._same[place] = (same, int(moving[1:].sum()))

    def findings(self) -> list[Finding]:
        return [*self._repeats(), *self._statistics()]

    def _repeats(self) -> list[Finding]:
        if "segmentation" in self._key or not self._same:
            return []
        episodes = self._dataset.episodes
        frozen = [episodes[place].index for place, (same, steps) in self._same.items() if steps > 1 and same == steps]
        same, steps = (sum(pair[i] for pair in self._same.values()) for i in (0, 1))
        share = same / max(steps, 1)
        if len(frozen) * 4 >= len(episodes) or share > 0.6:
            return [Finding(severity="fatal", kind="repeated-frames", what=f"{self._key}: {share:.0%} of the frames equal the one before "
                            f"while the robot moves; {len(frozen)} of {len(episodes)} episodes show one picture throughout",
                            where=f"{self._key}, episodes {frozen[:8]}",
                            advice="a stuck camera, or a decoder or codec that repeats the first frame: record or export again")]
        if frozen or share > 0.1:
            return [Finding(severity="warning", kind="repeated-frames", what=f"{self._key}: {share:.0%} of the frames equal the one before "
                            f"while the robot moves; {len(frozen)} episodes show one picture throughout",
                            where=f"{self._key}, episodes {frozen[:8]}" if frozen else self._key,
                            advice="the camera was slower than the stated rate, or frames were dropped and filled in")]
        return []

    def _statistics(self) -> list[Finding]:
        stored = self._dataset.stored_statistics.get(self._key, {})
        if not self._counted or not stored:
            return []
        true = histogram_statistics(self._histogram, self._counted)
        wrong = []
        for name in ("mean", "std"):
            told = np.asarray(stored.get(name, true[name]), dtype=np.float64)
            if told.size != true[name].size or np.abs(told.reshape(-1) - true[name].reshape(-1)).max() > 0.02:
                wrong.append(f"{name} {np.round(told.reshape(-1), 3).tolist()}, true {np.round(true[name].reshape(-1), 3).tolist()}")
        if not wrong:
            return []
        return [Finding(severity="warning", kind="statistics", what=f"{self._key}: stored statistics disagree with the frames: "
                        + "; ".join(wrong), where="meta", advice="foreact does not use them; other trainers may")]
