"""Encoder and decoder as one layer: its gradients, what padding does, what depends on what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from finite_differences import assert_gradient, randomise
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.errors import InputError, ShapeError, UnknownNameError
from minidl.models import Seq2Seq, seq2seq

fifteen_on_each = settings(max_examples=15)  # kernels
TRAINING = nn.Mode(training=True, seed=3, step=5, batch_size=3)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


@dataclass
class Task:
    """A network with random parameters, float64, and sources of any length, also none."""

    settings: dict
    generator: np.random.Generator
    source: np.ndarray
    given: np.ndarray
    targets: np.ndarray

    def network(self, source_steps=None, steps=None):
        """The same network at every call, but for the lengths that it is made for."""
        read = source_steps or self.source.shape[1]
        network = Seq2Seq(read, 4, 3, 2, 2, **self.settings)
        shape = (read + (steps or self.given.shape[1]),)
        buffer = network.initialise(shape, dtype=np.float64)
        randomise(buffer, np.random.default_rng(7))
        buffer.grads[...] = 0
        return network, buffer

    def outcome(self, source, given, targets):
        """Logits, losses and the gradients of their sum."""
        network, buffer = self.network(source.shape[1], given.shape[1])
        logits, saved = network.forward(np.concatenate((source, given), axis=1), TRAINING)
        losses, kept = nn.CrossEntropy(ignore_index=0).forward(logits, targets)
        loss = nn.CrossEntropy(ignore_index=0)
        network.backward(loss.backward(np.ones(len(losses)), kept), saved)
        return logits, losses, buffer.grads


@st.composite
def tasks(draw):
    stack = draw(st.sampled_from([{}, {"layers": 2}, {"layers": 2, "dropout": 0.3}]))
    settings = {"cell": draw(st.sampled_from(["gru", "lstm"])), "reverse": draw(st.booleans())}
    n, read, steps = draw(st.integers(0, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = generator.integers(0, read + 1, (n, 1))
    source = np.where(np.arange(read) < lengths, generator.integers(1, 4, (n, read)), 0)
    given, targets = generator.integers(0, 3, (2, n, steps))
    return Task(stack | settings, generator, source, given, targets)


@settings(max_examples=10)
@given(task=tasks())
def test_gradients(task):
    """By every parameter; by tokens there is none."""
    network, buffer = task.network()
    before = task.generator.normal(size=buffer.grads.shape)
    buffer.grads[...] = before
    x = np.concatenate((task.source, task.given), axis=1)
    y, saved = network.forward(x, TRAINING)
    dy = task.generator.normal(size=y.shape)
    dx = network.backward(dy, saved)
    assert dx.shape == x.shape
    assert not dx.any()

    def value():
        return float((network.forward(x, TRAINING)[0] * dy).sum())

    for name, parameter in buffer.parameters.items():
        added = parameter.grad - before[buffer.index[name]].reshape(parameter.shape)
        assert_gradient(value, parameter.value, added, name, task.generator)


@fifteen_on_each
@given(task=tasks(), before=st.integers(0, 2), behind=st.integers(0, 2))
def test_padding_of_the_source_changes_nothing(task, before, behind):
    task.settings.pop("dropout", None)  # its masks are as long as the sequence
    padded = np.pad(task.source, ((0, 0), (before, behind)))
    expected = task.outcome(task.source, task.given, task.targets)
    found = task.outcome(padded, task.given, task.targets)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@fifteen_on_each
@given(task=tasks(), behind=st.integers(1, 3))
def test_padding_of_the_target_changes_nothing(task, behind):
    """Neither the loss nor a gradient, whatever the decoder is given there."""
    task.settings.pop("dropout", None)
    more = task.generator.integers(0, 3, (len(task.given), behind))
    longer = np.concatenate((task.given, more), axis=1)
    _, *expected = task.outcome(task.source, task.given, task.targets)
    _, *found = task.outcome(task.source, longer, np.pad(task.targets, ((0, 0), (0, behind))))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@fifteen_on_each
@given(task=tasks(), data=st.data())
def test_logits_depend_on_what_was_given_up_to_their_step_only(task, data):
    step = data.draw(st.integers(0, task.given.shape[1] - 1))
    others = task.given.copy()
    others[:, step:] = (others[:, step:] + 1) % 3
    logits, *_ = task.outcome(task.source, task.given, task.targets)
    changed, *_ = task.outcome(task.source, others, task.targets)
    np.testing.assert_allclose(changed[:, :step], logits[:, :step], rtol=1e-12)
    if logits.size:
        assert abs(changed[:, step] - logits[:, step]).max() > 0


@fifteen_on_each
@given(task=tasks())
def test_a_decoder_that_is_given_one_token_at_a_time_says_the_same(task):
    network, _ = task.network()
    x = np.concatenate((task.source, task.given), axis=1)
    whole, saved = network.forward(x, nn.EVALUATE)
    assert saved is None
    state, _ = network.encode(task.source, nn.EVALUATE)
    for step in range(task.given.shape[1]):
        one, state, _ = network.decode(task.given[:, step : step + 1], state, nn.EVALUATE)
        np.testing.assert_allclose(one[:, 0], whole[:, step], rtol=1e-12)


@fifteen_on_each
@given(task=tasks())
def test_reversal_is_reading_the_reversed_source(task):
    task.settings["reverse"] = False
    forwards, *_ = task.outcome(task.source[:, ::-1], task.given, task.targets)
    task.settings["reverse"] = True
    backwards, *_ = task.outcome(task.source, task.given, task.targets)
    np.testing.assert_allclose(forwards, backwards, rtol=1e-12)


@pytest.mark.parametrize(("cell", "gates", "extra"), [("gru", 3, 1), ("lstm", 4, 0)])
def test_parameters_are_those_of_its_parts(cell, gates, extra):
    e, h, read, write = 5, 7, 11, 4
    network = seq2seq(6, read, write, e, h, cell=cell)
    recurrent = gates * (e * h + h * h + h) + extra * h
    assert len(network.initialise((9,))) == (read + write) * e + 2 * recurrent + h * write + write


def test_what_cannot_be_read_is_refused():
    with pytest.raises(UnknownNameError, match="unknown cell 'rnn'; known: gru, lstm"):
        Seq2Seq(3, 4, 3, cell="rnn")
    with pytest.raises(InputError, match="Seq2Seq: source_steps must be a whole number of at le"):
        Seq2Seq(0, 4, 3)
    network = Seq2Seq(3, 4, 3)
    for shape in [(3,), (5, 2), ()]:
        with pytest.raises(ShapeError, match="3 tokens to read and at least one"):
            network.initialise(shape)
    network.initialise((5,))
    assert nn.Sequential(network).takes_integers
    for bad in ([[4, 0, 0, 1, 1]], [[3, 0, 0, 1, 3]]):
        with pytest.raises(InputError, match="inputs must be from 0 to"):
            network.check_integers(np.array(bad))
    network.check_integers(np.array([[3, 0, 0, 1, 2]]))
    with pytest.raises(ShapeError, match="reads sources"):
        network.encode(np.array([3, 0, 0]), nn.EVALUATE)
