"""Heads along the way: what they put out, what the loss makes of it, under every strategy."""

from __future__ import annotations

import numpy as np
import pytest
from finite_differences import check_loss
from hypothesis import given
from hypothesis import strategies as st

from minidl import analysis, data, kernels, nn, optim, strategy, train
from minidl.errors import InputError, ShapeError

seeds = st.integers(0, 99)
TRAINING = nn.Mode(training=True)


@pytest.fixture(autouse=True, scope="module")
def on_the_definitions():
    with kernels.using("reference"):
        yield


def heads(widths, classes):
    """Stages of these widths, with heads; the last stage answers."""
    stages = [nn.Sequential(nn.Linear(width), nn.Tanh()) for width in widths]
    return nn.AuxiliaryHeads(
        *stages, nn.Linear(classes), heads=[nn.Linear(classes) for _ in widths]
    )


widths = st.lists(st.integers(1, 3), min_size=1, max_size=3)


@given(n=st.integers(0, 3), widths=widths, classes=st.integers(1, 3), seed=seeds)
def test_in_training_the_answers_stand_side_by_side(n, widths, classes, seed):
    generator, layer = np.random.default_rng(seed), heads(widths, classes)
    x = generator.normal(size=(n, 2))
    buffer = layer.initialise((2,), seed=seed, dtype=np.float64)
    assert list(layer.parameters())[-2:] == [
        f"head{len(widths) - 1}.weight", f"head{len(widths) - 1}.bias"
    ]  # fmt: skip
    assert len(buffer) == sum(p.size for p in layer.parameters().values())
    way, answers = x, []
    for stage, head in zip(layer.stages, layer.heads, strict=False):
        way, _ = stage.forward(way, TRAINING)
        answers.append(head.forward(way, TRAINING)[0])
    y, _ = layer.stages[-1].forward(way, TRAINING)
    np.testing.assert_array_equal(layer.forward(x, nn.EVALUATE)[0], y)
    np.testing.assert_array_equal(
        layer.forward(x, TRAINING)[0], np.concatenate((y, *answers), axis=1)
    )


@given(n=st.integers(1, 3), c=st.integers(1, 3), steps=st.lists(st.integers(1, 2), max_size=1),
       weights=st.lists(st.floats(0, 2), min_size=1, max_size=3), seed=seeds)  # fmt: skip
def test_the_loss_is_the_weighted_sum(n, c, steps, weights, seed):
    generator, inner = np.random.default_rng(seed), nn.CrossEntropy(0.1)
    loss = nn.WithAuxiliary(inner, c, weights)
    parts = generator.normal(size=(1 + len(weights), n, *steps, c))
    labels = generator.integers(0, c, (n, *steps))
    outputs = np.concatenate(tuple(parts), axis=-1)
    expected = [inner.forward(part, labels)[0] for part in parts]
    losses, _ = loss.forward(outputs, labels)
    np.testing.assert_allclose(losses, np.tensordot([1, *weights], expected, 1))
    np.testing.assert_allclose(loss.forward(parts[0], labels)[0], expected[0])
    for given_ in (outputs, parts[0]):
        measured, own = loss.metrics(given_, labels), inner.metrics(parts[0], labels)
        np.testing.assert_array_equal(measured["accuracy"], own["accuracy"])
    check_loss(loss, outputs, labels, generator)


@pytest.mark.parametrize(
    "parallel",
    [strategy.RingAllReduce(workers=2), strategy.Pipeline(stages=2, micro_batches=3)],
    ids=lambda parallel: type(parallel).__name__,
)
def test_a_network_with_heads_trains_alike_in_one_process_and_in_two(parallel):
    def trained(how):
        generator = np.random.default_rng(0)
        dataset = data.Dataset(generator.normal(size=(11, 3)), generator.integers(0, 4, 11))
        trainer = train.Trainer(
            nn.Sequential(nn.Linear(3), nn.Tanh(), heads([3, 2], 4)),
            nn.WithAuxiliary(nn.CrossEntropy(), 4),
            optim.SGD(lr=0.1),
            dtype="float64",
        )
        trainer.fit(dataset, epochs=2, batch_size=5, validation=dataset, strategy=how)
        return trainer

    one, other = trained(strategy.Serial()), trained(parallel)
    for name, value in one.weights().items():
        np.testing.assert_allclose(other.weights()[name], value, rtol=1e-9, atol=1e-12)
    assert one.weights()["2.head0.weight"].any()


def test_what_does_not_fit_is_refused():
    one = nn.Linear(1)
    for stages, some in (((one,), []), ((one, one), []), ((), []), ((one, one), [one, one])):
        with pytest.raises(InputError, match="two or more stages and a head for each"):
            nn.AuxiliaryHeads(*stages, heads=some)
    with pytest.raises(InputError, match="stages must be a Layer, not 3"):
        nn.AuxiliaryHeads(one, 3, heads=[one])
    with pytest.raises(ShapeError, match=r"puts out \(2,\), the heads \(3,\)"):
        nn.AuxiliaryHeads(nn.Tanh(), nn.Linear(2), heads=[nn.Linear(3)]).build((4,))
    with pytest.raises(InputError, match="loss must be a Loss, not 3"):
        nn.WithAuxiliary(3, 2)
    for weights in ((), (-0.1,), (float("nan"),)):
        with pytest.raises(InputError, match="weights must be one or more"):
            nn.WithAuxiliary(nn.MSE(), 2, weights)
    loss = nn.WithAuxiliary(nn.CrossEntropy(), 4)
    with pytest.raises(ShapeError, match="made for 4 outputs"):
        loss.check((3,), np.zeros(2, int))
    with pytest.raises(InputError, match="labels must be"):
        loss.check((4,), np.full(2, 4))
    with pytest.raises(ShapeError, match="needs 4 outputs, or 12 in training"):
        loss.forward(np.zeros((2, 8)), np.zeros(2, int))


def test_the_summary_counts_the_heads():
    layer = heads([3, 2], 4)
    counted = analysis.summary(layer, (5,))
    layer.build((5,))
    assert counted.parameters == sum(p.size for p in layer.parameters().values())
    assert counted.output_shape == (4,)
    assert [row.name for row in counted.rows] == [
        "0.0", "0.1", "head0", "1.0", "1.1", "head1", "2"
    ]  # fmt: skip
