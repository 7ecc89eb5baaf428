"""The training call, its record, its checkpoints, and figures of what was learnt."""

from minidl.train.history import EpochRecord, History
from minidl.train.metrics import confusion_matrix, top_k_accuracy
from minidl.train.trainer import Trainer

__all__ = ["EpochRecord", "History", "Trainer", "confusion_matrix", "top_k_accuracy"]
