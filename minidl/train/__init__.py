"""The training call, its record, its checkpoints, and figures of what was learnt."""

from minidl.train.callbacks import Callback, Checkpoints, EarlyStopping, ReduceOnPlateau
from minidl.train.gallery import Gallery
from minidl.train.history import EpochRecord, History, LearnerLost
from minidl.train.log import Log
from minidl.train.metrics import confusion_matrix, top_k_accuracy
from minidl.train.run import Run
from minidl.train.sample_quality import Judge, SampleQuality, coverage, frechet_distance
from minidl.train.trainer import Trainer

__all__ = [
    "Callback",
    "Checkpoints",
    "EarlyStopping",
    "EpochRecord",
    "Gallery",
    "History",
    "Judge",
    "LearnerLost",
    "Log",
    "ReduceOnPlateau",
    "Run",
    "SampleQuality",
    "Trainer",
    "confusion_matrix",
    "coverage",
    "frechet_distance",
    "top_k_accuracy",
]
