"""Weights as PyTorch names and lays them out, to read there what was trained here, and back."""

from __future__ import annotations

from minidl.nn.pytorch.files import export_pytorch, import_pytorch
from minidl.nn.pytorch.tensors import Tensor, overwriting, pytorch_tensors

__all__ = ["Tensor", "export_pytorch", "import_pytorch", "overwriting", "pytorch_tensors"]
