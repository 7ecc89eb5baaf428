"""Recurrent layers: a cell applied step after step, and what stacks of such are made of."""

from __future__ import annotations

from minidl.nn.recurrent.gru import GRU
from minidl.nn.recurrent.lstm import LSTM
from minidl.nn.recurrent.mask import with_mask
from minidl.nn.recurrent.rnn import RNN
from minidl.nn.recurrent.stack import Recurrent
from minidl.nn.recurrent.take_last import TakeLast

__all__ = ["GRU", "LSTM", "RNN", "Recurrent", "TakeLast", "with_mask"]
