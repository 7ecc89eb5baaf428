"""What every kernel is: the definition that the fast versions are held equal to.

Arrays are float32 or float64 and come back as they came; of both together, the wider type comes
back. `minidl.kernels.contracts` checks what each kernel takes. Axis 0 is the batch, the last axis
the features or channels; sizes, strides, paddings and dilations are pairs
(vertical, horizontal). `x` goes in and `y` comes out; `dx` is the loss's gradient by `x`.
"""

from __future__ import annotations

from minidl.kernels.contracts import under_contract
from minidl.kernels.reference.convolution import (
    conv2d,
    conv2d_input_gradient,
    conv2d_weight_gradient,
)
from minidl.kernels.reference.cross_entropy import (
    softmax_cross_entropy,
    softmax_cross_entropy_gradient,
)
from minidl.kernels.reference.dense import bias_gradient, matmul
from minidl.kernels.reference.elementwise import (
    dropout,
    leaky_relu,
    leaky_relu_gradient,
    relu,
    relu_gradient,
    sigmoid,
    sigmoid_gradient,
    tanh,
    tanh_gradient,
)
from minidl.kernels.reference.embedding import embedding_gradient
from minidl.kernels.reference.normalisation import batch_norm, batch_norm_gradient
from minidl.kernels.reference.optimizers import (
    adagrad_step,
    adam_step,
    adamw_step,
    lars_step,
    rmsprop_step,
    sgd_step,
    sum_of_squares,
)
from minidl.kernels.reference.pooling import (
    avg_pool2d,
    avg_pool2d_gradient,
    max_pool2d,
    max_pool2d_gradient,
)
from minidl.kernels.reference.recurrent import (
    gru_cell,
    gru_cell_gradient,
    gru_scan,
    gru_scan_gradient,
    lstm_cell,
    lstm_cell_gradient,
    lstm_scan,
    lstm_scan_gradient,
)

__all__ = [
    "adagrad_step",
    "adam_step",
    "adamw_step",
    "avg_pool2d",
    "avg_pool2d_gradient",
    "batch_norm",
    "batch_norm_gradient",
    "bias_gradient",
    "conv2d",
    "conv2d_input_gradient",
    "conv2d_weight_gradient",
    "dropout",
    "embedding_gradient",
    "gru_cell",
    "gru_cell_gradient",
    "gru_scan",
    "gru_scan_gradient",
    "lars_step",
    "leaky_relu",
    "leaky_relu_gradient",
    "lstm_cell",
    "lstm_cell_gradient",
    "lstm_scan",
    "lstm_scan_gradient",
    "matmul",
    "max_pool2d",
    "max_pool2d_gradient",
    "relu",
    "relu_gradient",
    "rmsprop_step",
    "sgd_step",
    "sigmoid",
    "sigmoid_gradient",
    "softmax_cross_entropy",
    "softmax_cross_entropy_gradient",
    "sum_of_squares",
    "tanh",
    "tanh_gradient",
]

globals().update({name: under_contract(globals()[name]) for name in __all__})
