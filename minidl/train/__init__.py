"""The training call, its record, and its checkpoints."""

from minidl.train.history import EpochRecord, History
from minidl.train.trainer import Trainer

__all__ = ["EpochRecord", "History", "Trainer"]
