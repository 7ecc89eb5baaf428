"""Homework: long short-term memory, one step and many, forward and backward by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import data, errors, nn, optim, rng
from minidl.train import Trainer


def step(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, w: np.ndarray, u: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Any]:
    """One step of the cell.

        z = x w + h u + b                   its four quarters are zi, zf, zg, zo
        i, f, o = sigmoid(zi, zf, zo)       what to let in, to keep, to show
        g = tanh(zg)                        what there is to let in
        c' = f c + i g                      the memory: added to, element by element
        h' = o tanh(c')

    Parameters
    ----------
    x
        (N, D), the input of this step for N sequences. Nothing that is given is to be changed.
    h, c
        (N, H), output and memory of the step before.
    w, u, b
        (D, 4 H), (H, 4 H) and (4 H,), in each the columns of the gates i, f, g, o in
        this order.

    Returns
    -------
    h', c'
        (N, H) each.
    saved
        Whatever `step_back` will need.

    Hints
    -----
    - `np.split(z, 4, axis=1)` gives the four quarters.
    - exp(1000) is infinite, and infinite / infinite is not a number. In 1 / (1 + exp(-z))
      only harmless infinities arise; to be rid of their warnings too, note that sigmoid(z)
      is (1 + tanh(z / 2)) / 2.
    """
    raise errors.NotWrittenError("step is not written yet: see its hints")


def step_back(dh_next: np.ndarray, dc_next: np.ndarray, saved: Any) -> tuple[np.ndarray, ...]:
    """The gradients of the loss by everything that `step` was given.

    Parameters
    ----------
    dh_next, dc_next
        (N, H), the gradients by h' and by c', not to be changed. The latter is what comes
        from the step after this one; h' = o tanh(c') depends on c' too, and adds to it.
    saved
        What `step` returned.

    Returns
    -------
    dx, dh, dc, dw, du, db
        Each of the shape of what it is the gradient of.

    Hints
    -----
    - The slope of sigmoid is s (1 - s), that of tanh 1 - t², s and t being their values.
    - First all of the gradient by c'. Then those by i, f, g and o, then dz, (N, 4 H).
      Then six products and sums.
    """
    raise errors.NotWrittenError("step_back is not written yet: see its hints")


def scan(x: np.ndarray, w: np.ndarray, u: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Any]:
    """All steps of N sequences, from h = 0 and c = 0.

    Parameters
    ----------
    x
        (N, T, D), of T steps.
    w, u, b
        As for `step`.

    Returns
    -------
    y
        (N, T, H): h' of each step.
    saved
        Whatever `scan_back` will need.
    """
    raise errors.NotWrittenError("scan is not written yet: it is a loop over step")


def scan_back(dy: np.ndarray, saved: Any) -> tuple[np.ndarray, ...]:
    """The gradients of the loss by everything that `scan` was given.

    Parameters
    ----------
    dy
        (N, T, H), the gradient of the loss by y. Not to be changed.
    saved
        What `scan` returned.

    Returns
    -------
    dx, dw, du, db
        Each of the shape of what it is the gradient of.

    Hints
    -----
    - From the last step to the first. The gradient by a step's h' has two parts: dy of
      that step, and dh of the step after it.
    - All steps share w, u and b.
    """
    raise errors.NotWrittenError("scan_back is not written yet: see its hints")


class MyLSTM(nn.Layer):
    """Your functions as a layer of minidl: (N, T, D) to (N, T, H). Nothing is to be written here.

    Parameters
    ----------
    hidden_size
        H.
    """

    weight: nn.Parameter
    recurrent: nn.Parameter
    bias: nn.Parameter

    def __init__(self, hidden_size: int) -> None:
        self.hidden_size = hidden_size

    def build(self, shape: nn.Shape) -> nn.Shape:
        steps, features = shape
        size, init = self.hidden_size, nn.init
        self.parameter("weight", (features, 4 * size), init.blocks(*4 * [init.xavier_uniform]))
        self.parameter("recurrent", (size, 4 * size), init.blocks(*4 * [init.orthogonal]))
        # A forget gate that starts open, as in minidl's own.
        bias = init.blocks(init.zeros, init.ones, init.zeros, init.zeros)
        self.parameter("bias", (4 * size,), bias)
        return steps, size

    def forward(self, x: nn.Array, mode: nn.Mode) -> tuple[nn.Array, Any]:
        y, saved = scan(x, self.weight.value, self.recurrent.value, self.bias.value)
        return np.asarray(y, x.dtype), saved if mode.training else None

    def backward(self, dy: nn.Array, saved: Any) -> nn.Array:
        dx, dw, du, db = scan_back(dy, saved)
        self.weight.grad += dw
        self.recurrent.grad += du
        self.bias.grad += db
        return np.asarray(dx, dy.dtype)


def adding_problem(steps: int, count: int, name: str) -> data.Dataset:
    """Sequences of numbers, two of them marked, one in each half; their sum is to be given.

    Who always says 1 has a mean squared error of 1/6 (Hochreiter and Schmidhuber 1997).
    """
    generator, rows = rng.stream(name, steps), np.arange(count)
    numbers, marks = generator.uniform(0, 1, (count, steps)), np.zeros((count, steps))
    marks[rows, generator.integers(0, steps // 2, count)] = 1
    marks[rows, generator.integers(steps // 2, steps, count)] = 1
    return data.Dataset(np.stack([numbers, marks], 2), (numbers * marks).sum(1, keepdims=True))


def train(layer: nn.Layer, steps: int = 25, epochs: int = 8) -> list[float]:
    """Learn the adding problem; the squared error on unseen sequences after each epoch."""
    model = nn.Sequential(layer, nn.TakeLast(), nn.Linear(1))
    trainer = Trainer(model, nn.MSE(), optim.Adam(0.01), seed=0)
    history = trainer.fit(
        adding_problem(steps, 2000, "train"),
        epochs=epochs,
        batch_size=32,
        validation=adding_problem(steps, 500, "test"),
        progress=False,
    )
    return [epoch.validation["loss"] for epoch in history.epochs]


if __name__ == "__main__":
    print("squared error on unseen sequences after each epoch; always saying 1 has 0.167")
    layers = {"minidl's RNN": nn.RNN(32), "minidl's LSTM": nn.LSTM(32), "your LSTM": MyLSTM(32)}
    for title, layer in layers.items():
        print(f"{title:14}", *(f"{error:.4f}" for error in train(layer)))
