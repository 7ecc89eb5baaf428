"""Tasks: what one training step computes and which parameters it moves."""

from __future__ import annotations

from minidl.tasks.adversarial import Adversarial
from minidl.tasks.supervised import Supervised
from minidl.tasks.task import WHOLE, Phase, Sums, Task

__all__ = ["WHOLE", "Adversarial", "Phase", "Sums", "Supervised", "Task"]
