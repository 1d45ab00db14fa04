"""LeRobotDataset v2.0, v2.1 and v3.0 read, v3.0 written, without the lerobot package."""

from foreact.data.lerobot.conventions import Specs, StatedConventions, standard_features
from foreact.data.lerobot.dataset import Dataset
from foreact.data.lerobot.episode import EncodedEpisode, EpisodeEncoder
from foreact.data.lerobot.joining import extract, merge
from foreact.data.lerobot.layout import Feature
from foreact.data.lerobot.writer import DatasetWriter

__all__ = [
    "Dataset", "DatasetWriter", "EncodedEpisode", "EpisodeEncoder", "Feature", "Specs", "StatedConventions", "extract", "merge",
    "standard_features",
]
