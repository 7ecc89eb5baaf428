"""The training call, its record, its checkpoints, and figures of what was learnt."""

from minidl.train.callbacks import Callback, Checkpoints, EarlyStopping, Log, ReduceOnPlateau
from minidl.train.history import EpochRecord, History
from minidl.train.metrics import confusion_matrix, top_k_accuracy
from minidl.train.run import Run
from minidl.train.trainer import Trainer

__all__ = [
    "Callback",
    "Checkpoints",
    "EarlyStopping",
    "EpochRecord",
    "History",
    "Log",
    "ReduceOnPlateau",
    "Run",
    "Trainer",
    "confusion_matrix",
    "top_k_accuracy",
]
