"""Recurrent layers equal PyTorch's in float64: outputs, last states, and every gradient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import kernels, nn

torch = pytest.importorskip("torch", reason="PyTorch, the oracle of these tests, is not installed")

few, some = st.integers(1, 3), st.integers(1, 5)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


def tensor(x):
    return torch.tensor(np.ascontiguousarray(x), requires_grad=True)


def close(one, other):
    np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-7, atol=1e-9)


def twin(layer, features):
    """PyTorch's layer with the same weights."""
    other = getattr(torch.nn, type(layer).__name__)(
        features,
        layer.hidden_size,
        layer.layers,
        bidirectional=layer.bidirectional,
        batch_first=True,
        dtype=torch.float64,
    )
    with torch.no_grad():
        for name, value in of_parameters(layer, lambda parameter: parameter.value).items():
            getattr(other, name).copy_(torch.tensor(np.ascontiguousarray(value)))
    return other


def of_parameters(layer, of):
    """The parameters' values, or gradients, under PyTorch's names and in its layout."""
    found = {}
    for name, cell in layer.cells.items():
        found[f"weight_ih_l{name}"] = of(cell.weight).T
        found[f"weight_hh_l{name}"] = of(cell.recurrent).T
        found[f"bias_ih_l{name}"] = of(cell.bias)
        found[f"bias_hh_l{name}"] = np.zeros_like(of(cell.bias))  # the other's does its work
        if isinstance(layer, nn.GRU):
            found[f"bias_hh_l{name}"][2 * layer.hidden_size :] = of(cell.candidate_bias)
    return found


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@settings(max_examples=20)
@given(n=few, steps=some, features=few, hidden=some, layers=few, both=st.booleans(),
       seed=st.integers(0, 999))  # fmt: skip
def test_recurrent(kind, n, steps, features, hidden, layers, both, seed):
    generator = np.random.default_rng(seed)
    layer, x = kind(hidden, layers, both), generator.normal(size=(n, steps, features))
    buffer = layer.initialise(x.shape[1:], dtype=np.float64)
    buffer.values[...] = generator.normal(size=len(buffer))
    shape = (n, len(layer.cells), hidden)
    state, dstate = (
        tuple(generator.normal(size=shape) for _ in range(layer.cell.arrays)) for _ in range(2)
    )
    y, last, saved = layer.forward_from(x, state, nn.Mode(training=True))
    dy = generator.normal(size=y.shape)
    dx, dfirst = layer.backward_through(dy, dstate, saved)

    other = twin(layer, features)
    of_x = tensor(x)
    of_state = tuple(tensor(s.swapaxes(0, 1)) for s in state)
    of_y, of_last = other(of_x, of_state if len(of_state) > 1 else of_state[0])
    of_last = of_last if isinstance(of_last, tuple) else (of_last,)
    torch.autograd.backward(
        [of_y, *of_last],
        [torch.tensor(d) for d in (dy, *(np.ascontiguousarray(d.swapaxes(0, 1)) for d in dstate))],
    )
    close(y, of_y)
    close(dx, of_x.grad)
    for one, two, done, du in zip(last, of_last, dfirst, of_state, strict=True):
        close(one.swapaxes(0, 1), two)
        close(done.swapaxes(0, 1), du.grad)
    for name, gradient in of_parameters(layer, lambda parameter: parameter.grad).items():
        theirs = getattr(other, name).grad.detach()
        if name.startswith("bias_hh"):
            gradient, theirs = gradient[2 * hidden :], theirs[2 * hidden :]
            if not isinstance(layer, nn.GRU):
                continue
        close(gradient, theirs)
