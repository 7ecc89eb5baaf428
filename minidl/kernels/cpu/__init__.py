"""The kernels for CPUs: the functions of `reference`, compiled by numba.

Products of matrices and images stand on one core (`products`); everything else is a loop
that threads share. Threads are numba's; NumPy's BLAS is never called. Results do not
depend on how threads happen to run: no two of them write to one place. Within this folder
kernels call each other as they are; from outside, each is reached through its contract.
"""

# ruff: noqa: F401, what stands here is listed once, in `reference`

from __future__ import annotations

from minidl.kernels.contracts import under_contract
from minidl.kernels.cpu.convolution import conv2d, conv2d_input_gradient, conv2d_weight_gradient
from minidl.kernels.cpu.dense import matmul
from minidl.kernels.cpu.elementwise import (
    bias_gradient,
    dropout,
    leaky_relu,
    leaky_relu_gradient,
    relu,
    relu_gradient,
)
from minidl.kernels.cpu.embedding import embedding_gradient
from minidl.kernels.cpu.exponentials import (
    sigmoid,
    sigmoid_gradient,
    softmax_cross_entropy,
    softmax_cross_entropy_gradient,
    tanh,
    tanh_gradient,
)
from minidl.kernels.cpu.normalisation import batch_norm, batch_norm_gradient
from minidl.kernels.cpu.optimizers import (
    adagrad_step,
    adam_step,
    adamw_step,
    lars_step,
    rmsprop_step,
    sgd_step,
    sum_of_squares,
)
from minidl.kernels.cpu.pooling import (
    avg_pool2d,
    avg_pool2d_gradient,
    max_pool2d,
    max_pool2d_gradient,
)
from minidl.kernels.cpu.recurrent import gru_cell, gru_cell_gradient, lstm_cell, lstm_cell_gradient
from minidl.kernels.cpu.scans import gru_scan, gru_scan_gradient, lstm_scan, lstm_scan_gradient
from minidl.kernels.reference import __all__ as __all__

globals().update({name: under_contract(globals()[name]) for name in __all__})
