"""Recurrent layers: gradients by every state, sequences in pieces, and what starts them."""

from __future__ import annotations

import numpy as np
import pytest
from finite_differences import assert_gradient, check_layer, randomise
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.errors import InputError, ShapeError

KINDS = [nn.RNN, nn.GRU, nn.LSTM]
PARAMETERS = {
    nn.RNN: lambda m, n: m * n + n * n + n,
    nn.GRU: lambda m, n: 3 * (m * n + n * n + n) + n,
    nn.LSTM: lambda m, n: 4 * (m * n + n * n + n),
}
TRAINING = nn.Mode(training=True)

ten_of_each = settings(max_examples=10)  # of three kinds, on each kernels
each_kind = pytest.mark.parametrize("kind", KINDS)
shapes_of_stacks = st.fixed_dictionaries(
    {"layers": st.integers(1, 3), "bidirectional": st.booleans()}
)
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
sizes = st.integers(1, 3)
sequences = st.tuples(st.integers(0, 3), st.integers(1, 4), sizes)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


def a_state(layer, n, generator):
    """A random state, or gradient of one."""
    shape = (n, len(layer.cells), layer.hidden_size)
    return tuple(generator.normal(size=shape) for _ in range(layer.cell.arrays))


@each_kind
@ten_of_each
@given(shape=sequences, hidden=sizes, stack=shapes_of_stacks, generator=seeds)
def test_gradients(kind, shape, hidden, stack, generator):
    dropout = 0.3 if stack["layers"] > 1 else 0.0
    check_layer(kind(hidden, dropout=dropout, **stack), generator.normal(size=shape), generator)


@given(stack=shapes_of_stacks, shape=sequences, generator=seeds)
def test_the_last_step_is_the_state_of_the_last_layer(stack, shape, generator):
    """Also after padding, and of both directions."""
    layer, x = nn.GRU(2, **stack), generator.normal(size=shape)
    layer.initialise(shape[1:], dtype=np.float64)
    mask = np.arange(shape[1]) < generator.integers(0, shape[1] + 1, shape[0])[:, None]
    y, (state,), _ = layer.forward_from(x, None, nn.EVALUATE, mask)
    last, _ = nn.TakeLast(stack["bidirectional"]).forward(y, nn.EVALUATE)
    ends = 2 if stack["bidirectional"] else 1
    np.testing.assert_array_equal(last.reshape(shape[0], ends, 2), state[:, -ends:])


@each_kind
@ten_of_each
@given(shape=sequences, stack=shapes_of_stacks, generator=seeds)
def test_gradients_of_padded_sequences(kind, shape, stack, generator):
    """By padding and by the mask they are 0; what the output repeats over padding counts."""
    lengths = generator.integers(0, shape[1] + 1, shape[0])
    x = nn.with_mask(generator.normal(size=shape), lengths)
    check_layer(kind(2, masked=True, **stack), x, generator)


@each_kind
@ten_of_each
@given(shape=sequences, before=st.booleans(), stack=shapes_of_stacks, generator=seeds)
def test_padding_changes_nothing(kind, shape, before, stack, generator):
    """Every sequence gives what it gives alone, whatever the padding holds, at either end."""
    (n, steps, _), layer, close = shape, kind(2, **stack), {"rtol": 1e-9, "atol": 1e-11}
    x, lengths = generator.normal(size=shape), generator.integers(1, steps + 1, n)
    mask = np.arange(steps) < lengths[:, None]
    mask = mask[:, ::-1] if before else mask
    x[~mask] = generator.choice([np.nan, np.inf, 1e300], (~mask).sum())[:, None]
    buffer = layer.initialise(shape[1:], dtype=np.float64)
    state, dstate = a_state(layer, n, generator), a_state(layer, n, generator)
    y, last, saved = layer.forward_from(x, state, TRAINING, mask)
    dy = generator.normal(size=y.shape) * mask[:, :, None]
    dx, dfirst = layer.backward_through(dy, dstate, saved)
    whole = buffer.grads.copy()
    assert (dx[~mask] == 0).all()
    buffer.grads[...] = 0
    for i in range(n):
        real, one = mask[i], slice(i, i + 1)
        of_one = [tuple(a[one] for a in arrays) for arrays in (state, dstate)]
        y1, last1, saved1 = layer.forward_from(x[one, real], of_one[0], TRAINING)
        dx1, dfirst1 = layer.backward_through(dy[one, real], of_one[1], saved1)
        np.testing.assert_allclose(y[one, real], y1, **close)
        np.testing.assert_allclose(dx[one, real], dx1, **close)
        for many, alone in ((last, last1), (dfirst, dfirst1)):
            np.testing.assert_allclose([a[one] for a in many], alone, **close)
    np.testing.assert_allclose(whole, buffer.grads, **close)


def test_masks_that_do_not_fit_are_refused():
    x = np.zeros((2, 4, 3), np.float32)
    for lengths in ([1, 5], [-1, 2], [1.0, 2.0]):
        with pytest.raises(InputError, match="whole numbers from 0 to 4, not"):
            nn.with_mask(x, lengths)
    with pytest.raises(ShapeError, match=r"not shapes \(2, 4, 3\) and \(3,\)"):
        nn.with_mask(x, [1, 2, 3])
    layer = nn.LSTM(2, masked=True)
    with pytest.raises(ShapeError, match=r"one feature and the mask, not .* \(4, 1\)"):
        layer.initialise((4, 1))
    layer.initialise((4, 4))
    with pytest.raises(ShapeError, match="built for samples with 4 on the last axis"):
        layer.forward(x, nn.EVALUATE)
    with pytest.raises(ShapeError, match=r"mask of shape \(2, 4\), not \(2, 3\)"):
        layer.forward_from(x, None, nn.EVALUATE, np.ones((2, 3), bool))
    with pytest.raises(ShapeError, match="even number of features, half from each .*, not 3"):
        nn.TakeLast(bidirectional=True).build((4, 3))


@each_kind
@ten_of_each
@given(shape=sequences, hidden=sizes, stack=shapes_of_stacks, generator=seeds)
def test_gradients_with_states(kind, shape, hidden, stack, generator):
    """The first and the last state take part in the gradient, each with random numbers."""
    layer, x = kind(hidden, **stack), generator.normal(size=shape)
    buffer = layer.initialise(shape[1:], dtype=np.float64)
    randomise(buffer, generator)
    buffer.grads[...] = 0
    state = a_state(layer, len(x), generator)
    y, _, saved = layer.forward_from(x, state, TRAINING)
    dy, dstate = generator.normal(size=y.shape), a_state(layer, len(x), generator)
    dx, dfirst = layer.backward_through(dy, dstate, saved)

    def value() -> float:
        y, last, _ = layer.forward_from(x, state, TRAINING)
        return float((y * dy).sum() + sum((a * b).sum() for a, b in zip(last, dstate, strict=True)))

    assert_gradient(value, x, dx, "input", generator)
    for place, (given_, array) in enumerate(zip(dfirst, state, strict=True)):
        assert_gradient(value, array, given_, f"state {place}", generator)
    for name, parameter in buffer.parameters.items():
        assert_gradient(value, parameter.value, parameter.grad, name, generator)


@each_kind
@ten_of_each
@given(n=st.integers(0, 3), steps=st.integers(2, 6), cut=st.integers(1, 5), generator=seeds)
def test_a_sequence_in_pieces_is_the_whole(kind, n, steps, cut, generator):
    """Outputs, and gradients if they flow through the cut."""
    cut = min(cut, steps - 1)
    layer, x = kind(3, layers=2), generator.normal(size=(n, steps, 2))
    buffer = layer.initialise(x.shape[1:], dtype=np.float64)
    y, last, saved = layer.forward_from(x, None, TRAINING)
    dy, dstate = generator.normal(size=y.shape), a_state(layer, n, generator)
    dx, dfirst = layer.backward_through(dy, dstate, saved)
    whole = buffer.grads.copy()
    buffer.grads[...] = 0
    y1, state, saved1 = layer.forward_from(x[:, :cut], None, TRAINING)
    y2, end, saved2 = layer.forward_from(x[:, cut:], state, TRAINING)
    dx2, dstate = layer.backward_through(dy[:, cut:], dstate, saved2)
    dx1, dstart = layer.backward_through(dy[:, :cut], dstate, saved1)
    close = {"rtol": 1e-9, "atol": 1e-11}
    np.testing.assert_allclose(np.concatenate((y1, y2), axis=1), y, **close)
    np.testing.assert_allclose(np.concatenate((dx1, dx2), axis=1), dx, **close)
    np.testing.assert_allclose(end, last, **close)
    np.testing.assert_allclose(dstart, dfirst, **close)
    np.testing.assert_allclose(buffer.grads, whole, **close)


@each_kind
@ten_of_each
@given(m=sizes, n=st.integers(1, 5))
def test_parameter_counts_are_the_formulas(kind, m, n):
    count = PARAMETERS[kind]
    assert len(kind(n).initialise((4, m))) == count(m, n)
    assert len(kind(n, layers=3).initialise((4, m))) == count(m, n) + 2 * count(n, n)
    both = kind(n, layers=2, bidirectional=True)
    assert len(both.initialise((4, m))) == 2 * count(m, n) + 2 * count(2 * n, n)


@each_kind
@ten_of_each
@given(n=st.integers(0, 3), steps=st.integers(1, 4), generator=seeds)
def test_both_directions_are_one_each_way(kind, n, steps, generator):
    """With the same weights, the one that goes backwards is the other on the sequence reversed."""
    layer, x = kind(3, bidirectional=True), generator.normal(size=(n, steps, 2))
    layer.initialise(x.shape[1:], dtype=np.float64)
    there, back = layer.cells.values()
    for parameter, other in zip(
        there.parameters().values(), back.parameters().values(), strict=True
    ):
        other.value[...] = parameter.value
    assert layer.build((steps, 2)) == (steps, 6)
    y, last, _ = layer.forward_from(x, None, nn.EVALUATE)
    y_of_reversed, _ = layer.forward(x[:, ::-1], nn.EVALUATE)
    np.testing.assert_allclose(y[:, :, 3:], y_of_reversed[:, ::-1, :3], atol=1e-12)
    np.testing.assert_array_equal(last[0][:, 0], y[:, -1, :3])
    np.testing.assert_array_equal(last[0][:, 1], y[:, 0, 3:])


@each_kind
@ten_of_each
@given(n=st.integers(2, 6), cut=st.integers(0, 6), generator=seeds)
def test_micro_batches_add_up_to_the_whole(kind, n, cut, generator):
    """Forward stores nothing on the layer, so two batches may be under way; also with dropout."""
    cut = min(cut, n)
    layer, x = kind(3, 2, True, 0.4), generator.normal(size=(n, 3, 2))
    buffer = layer.initialise(x.shape[1:], seed=1, dtype=np.float64)
    dy = generator.normal(size=(n, 3, 6))
    y, saved = layer.forward(x, nn.Mode(training=True, seed=3, step=2, batch_size=n))
    dx = layer.backward(dy, saved)
    whole = buffer.grads.copy()
    buffer.grads[...] = 0
    mode = [nn.Mode(training=True, seed=3, step=2, first=f, batch_size=n) for f in (0, cut)]
    (y1, saved1), (y2, saved2) = layer.forward(x[:cut], mode[0]), layer.forward(x[cut:], mode[1])
    dx1, dx2 = layer.backward(dy[:cut], saved1), layer.backward(dy[cut:], saved2)
    np.testing.assert_allclose(np.concatenate((y1, y2)), y, atol=1e-12)
    np.testing.assert_allclose(np.concatenate((dx1, dx2)), dx, atol=1e-12)
    np.testing.assert_allclose(buffer.grads, whole, atol=1e-11)
    assert layer.forward(x, nn.EVALUATE)[1] is None


@each_kind
@ten_of_each
@given(m=sizes, n=st.integers(1, 5), seed=st.integers(0, 99))
def test_initial_recurrent_weights_keep_lengths(kind, m, n, seed):
    layer = kind(n)
    layer.initialise((4, m), seed=seed, dtype=np.float64)
    gates = np.split(layer.cells["0"].recurrent.value, layer.cell.gates, axis=1)
    for u in gates:
        np.testing.assert_allclose(u.T @ u, np.eye(n), atol=1e-12)
    assert n == 1 or len({u.tobytes() for u in gates}) == len(gates)


def test_a_forget_gate_starts_open():
    layer = nn.LSTM(2)
    layer.initialise((3, 1))
    np.testing.assert_array_equal(layer.cells["0"].bias.value, [0, 0, 1, 1, 0, 0, 0, 0])


@each_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_and_saturated_sequences_stay_finite(kind, dtype):
    generator = np.random.default_rng(0)
    layer = kind(4)
    buffer = layer.initialise((300, 3), dtype=dtype)
    x = (generator.choice([-1e4, 0, 1e4], (2, 300, 3))).astype(dtype)
    y, saved = layer.forward(x, TRAINING)
    dx = layer.backward(np.ones_like(y), saved)
    for array in (y, dx, buffer.grads):
        assert np.isfinite(array).all()
        assert array.dtype == dtype


@each_kind
def test_what_does_not_fit_is_refused(kind):
    with pytest.raises(InputError, match="hidden_size must be .* at least 1, not 0"):
        kind(0)
    with pytest.raises(InputError, match="layers must be .* at least 1, not 0"):
        kind(2, layers=0)
    with pytest.raises(InputError, match="dropout stands between layers"):
        kind(2, dropout=0.5)
    with pytest.raises(InputError, match="rate must be"):
        kind(2, layers=2, dropout=1.0)
    for shape in ((3,), (0, 3), (4, 0), (2, 3, 4)):
        with pytest.raises(ShapeError, match=r"needs sequences \(steps, features\)"):
            kind(2).initialise(shape)
    layer = kind(2)
    layer.initialise((4, 3))
    for shape in ((1, 4, 2), (1, 0, 3), (4, 3)):
        with pytest.raises(ShapeError, match=r"\(N, T, 3\) .* cannot take one of shape"):
            layer.forward(np.zeros(shape, np.float32), nn.EVALUATE)
    with pytest.raises(ShapeError, match=r"state of . array\(s\) of shape \(1, 1, 2\), not"):
        layer.forward_from(np.zeros((1, 4, 3), np.float32), (np.zeros((1, 1, 3)),), nn.EVALUATE)
    with pytest.raises(ShapeError, match=r"TakeLast needs sequences .* not samples of shape \(3,"):
        nn.TakeLast().build((3,))
