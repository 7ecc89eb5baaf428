"""Layers, losses and initialisers: what a network is made of."""

from __future__ import annotations

from minidl.nn import init
from minidl.nn.activations import (
    ELU,
    Hardswish,
    LeakyReLU,
    Mish,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
)
from minidl.nn.adversarial import AdversarialLoss, LeastSquares, Minimax, NonSaturating
from minidl.nn.auxiliary import AuxiliaryHeads, WithAuxiliary
from minidl.nn.batch_norm import BatchNorm, synchronised
from minidl.nn.bce_with_logits import BCEWithLogits
from minidl.nn.concat import Concat
from minidl.nn.conv1d import Conv1d
from minidl.nn.conv2d import Conv2d
from minidl.nn.conv_transpose2d import ConvTranspose2d
from minidl.nn.cross_entropy import CrossEntropy
from minidl.nn.dropout import Dropout
from minidl.nn.embedding import Embedding
from minidl.nn.fit_image import FitImage
from minidl.nn.flatten import Flatten
from minidl.nn.gelu import GELU
from minidl.nn.group_norm import GroupNorm
from minidl.nn.hinge import Hinge
from minidl.nn.huber import Huber
from minidl.nn.l1 import L1
from minidl.nn.layer import EVALUATE, Layer, Mode
from minidl.nn.layer_norm import LayerNorm, RMSNorm
from minidl.nn.linear import Linear
from minidl.nn.loss import Loss
from minidl.nn.mse import MSE
from minidl.nn.pad_channels import PadChannels
from minidl.nn.padding import Pad2d
from minidl.nn.parameters import (
    Array,
    Initialiser,
    Parameter,
    ParameterBuffer,
    RunningMean,
    Shape,
    parts_of,
)
from minidl.nn.pooling import (
    AvgPool1d,
    AvgPool2d,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    MaxPool1d,
    MaxPool2d,
)
from minidl.nn.pytorch import export_pytorch, import_pytorch, pytorch_tensors
from minidl.nn.recurrent import GRU, LSTM, RNN, Recurrent, TakeLast, with_mask
from minidl.nn.reshape import Reshape
from minidl.nn.residual import Residual
from minidl.nn.sequential import Sequential
from minidl.nn.softmax import Softmax
from minidl.nn.upsample import Upsample

__all__ = [
    "ELU",
    "EVALUATE",
    "GELU",
    "GRU",
    "L1",
    "LSTM",
    "MSE",
    "RNN",
    "AdversarialLoss",
    "Array",
    "AuxiliaryHeads",
    "AvgPool1d",
    "AvgPool2d",
    "BCEWithLogits",
    "BatchNorm",
    "Concat",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropy",
    "Dropout",
    "Embedding",
    "FitImage",
    "Flatten",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "GroupNorm",
    "Hardswish",
    "Hinge",
    "Huber",
    "Initialiser",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LeastSquares",
    "Linear",
    "Loss",
    "MaxPool1d",
    "MaxPool2d",
    "Minimax",
    "Mish",
    "Mode",
    "NonSaturating",
    "PReLU",
    "Pad2d",
    "PadChannels",
    "Parameter",
    "ParameterBuffer",
    "RMSNorm",
    "ReLU",
    "Recurrent",
    "Reshape",
    "Residual",
    "RunningMean",
    "Sequential",
    "Shape",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "TakeLast",
    "Tanh",
    "Upsample",
    "WithAuxiliary",
    "export_pytorch",
    "import_pytorch",
    "init",
    "parts_of",
    "pytorch_tensors",
    "synchronised",
    "with_mask",
]
