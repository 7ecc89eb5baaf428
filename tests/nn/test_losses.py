"""Losses: what they are where it is known, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.errors import InputError, ShapeError

ALL = [
    nn.CrossEntropy(), nn.CrossEntropy(0.1), nn.CrossEntropy(ignore_index=0), nn.Hinge(),
    nn.MSE(), nn.L1(), nn.Huber(), nn.Huber(0.1), nn.BCEWithLogits(),
]  # fmt: skip
dtypes = st.sampled_from([np.float32, np.float64])


@pytest.fixture(autouse=True, scope="module")
def on_the_definitions():
    with kernels.using("reference"):
        yield


def example(loss, shape, generator, dtype=np.float64):
    outputs = generator.normal(size=shape).astype(dtype)
    if isinstance(loss, nn.CrossEntropy | nn.Hinge):
        return outputs, generator.integers(0, shape[-1], shape[:-1])
    return outputs, generator.integers(0, 2, shape)


@pytest.mark.parametrize("loss", ALL)
@given(
    n=st.integers(0, 4),
    middle=st.lists(st.integers(0, 3), max_size=2),
    c=st.integers(1, 4),
    dtype=dtypes,
    seed=st.integers(0, 99),
)
def test_one_number_a_sample_that_depends_on_that_sample_alone(loss, n, middle, c, dtype, seed):
    shape = (n, *middle, c)
    outputs, targets = example(loss, shape, np.random.default_rng(seed), dtype)
    loss.check(shape[1:], targets)
    losses, saved = loss.forward(outputs, targets)
    assert losses.shape == (n,)
    assert losses.dtype == dtype
    gradient = loss.backward(np.full(n, 0.5, dtype), saved)
    assert gradient.dtype == dtype
    for metric in loss.metrics(outputs, targets).values():
        assert metric.shape == (n,)
    assert gradient.shape == shape
    assert gradient.dtype == dtype
    measured = loss.metrics(outputs, targets)
    assert all(metric.shape == (n,) for metric in measured.values())
    for i in range(n):
        alone, kept = loss.forward(outputs[i : i + 1], targets[i : i + 1])
        np.testing.assert_allclose(alone[0], losses[i], rtol=1e-5)
        np.testing.assert_allclose(
            loss.backward(np.full(1, 0.5, dtype), kept)[0], gradient[i], rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("loss", ALL)
@settings(max_examples=20)
@given(dtype=dtypes, seed=st.integers(0, 99), size=st.sampled_from([1e2, 1e4]))
def test_huge_logits_are_safe(loss, dtype, seed, size):
    generator = np.random.default_rng(seed)
    outputs = (size * generator.choice([-1, 0, 1], (6, 4))).astype(dtype)
    _, targets = example(loss, (6, 4), generator)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        losses, saved = loss.forward(outputs, targets)
        gradient = loss.backward(np.ones(6, dtype), saved)
    assert np.isfinite(losses).all()
    assert (losses >= 0).all()
    assert np.isfinite(gradient).all()


@given(
    n=st.integers(1, 4), t=st.integers(0, 4), c=st.integers(1, 4), pads=st.integers(1, 3),
    smoothing=st.floats(0, 0.9), ignored=st.sampled_from([-1, -100, 7]), seed=st.integers(0, 99),
)  # fmt: skip
def test_ignored_positions_change_nothing_wherever_they_stand(
    n, t, c, pads, smoothing, ignored, seed
):
    generator = np.random.default_rng(seed)
    loss, plain = nn.CrossEntropy(smoothing, ignored), nn.CrossEntropy(smoothing)
    z, labels = generator.normal(size=(n, t, c)), generator.integers(0, c, (n, t))
    places = np.sort(generator.permutation(t + pads)[:t])
    padded, padded_labels = generator.normal(size=(n, t + pads, c)), np.full((n, t + pads), ignored)
    padded[:, places], padded_labels[:, places] = z, labels
    loss.check((t + pads, c), padded_labels)
    (losses, saved), (expected, kept) = (
        loss.forward(padded, padded_labels),
        plain.forward(z, labels),
    )
    np.testing.assert_allclose(losses, expected)
    dlosses = generator.normal(size=n)
    gradient = loss.backward(dlosses, saved)
    np.testing.assert_allclose(gradient[:, places], plain.backward(dlosses, kept))
    gradient[:, places] = 0
    assert not gradient.any()
    np.testing.assert_allclose(
        loss.metrics(padded, padded_labels)["accuracy"], plain.metrics(z, labels)["accuracy"]
    )


@given(
    n=st.integers(1, 6), c=st.integers(1, 4), smoothing=st.sampled_from([0, 0.3]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_class_weights(n, c, smoothing, seed):
    """One weight for all is a factor; 0 takes a class out; PyTorch's mean is ours but for a factor.

    Its mean divides by the sum of the labels' weights, ours by the number of samples.
    """
    generator = np.random.default_rng(seed)
    z, labels = generator.normal(size=(n, c)), generator.integers(0, c, n)
    plain, _ = nn.CrossEntropy(smoothing).forward(z, labels)
    same, _ = nn.CrossEntropy(smoothing, weight=[2.5] * c).forward(z, labels)
    np.testing.assert_allclose(same, 2.5 * plain)
    weight = generator.uniform(0.5, 2, c)
    each, _ = nn.CrossEntropy().forward(z, labels)
    pytorchs = (weight[labels] * each).sum() / weight[labels].sum()
    scaled = nn.CrossEntropy(weight=weight / weight[labels].mean())
    np.testing.assert_allclose(scaled.forward(z, labels)[0].mean(), pytorchs)
    weight = np.append(weight, 0)
    some = np.append(labels, c)
    losses, saved = nn.CrossEntropy(weight=weight).forward(
        generator.normal(size=(n + 1, c + 1)), some
    )
    assert losses[-1] == 0
    assert not np.any(nn.CrossEntropy(weight=weight).backward(np.ones(n + 1), saved)[-1])


@pytest.mark.parametrize("weight", [2.0, "heavy", [], [0, 0], [1, -1], [1, np.nan], [None]])
def test_bad_class_weights_are_refused(weight):
    with pytest.raises(InputError, match="CrossEntropy: weight must be a sequence"):
        nn.CrossEntropy(weight=weight)


def test_class_weights_of_another_number_of_classes_are_refused():
    loss, z, labels = nn.CrossEntropy(weight=[1, 2]), np.zeros((2, 3)), np.array([0, 1])
    with pytest.raises(ShapeError, match="weight has 2 numbers; the network has 3 outputs"):
        loss.check((3,), labels)
    with pytest.raises(ShapeError, match="weight has 2 numbers; the network has 3 outputs"):
        loss.forward(z, labels)


def test_known_margins():
    z, labels = np.array([[1.0, 0.5, -3], [0, 0, 0], [0, 9, 0]]), np.array([0, 2, 1])
    losses, _ = nn.Hinge().forward(z, labels)
    np.testing.assert_allclose(losses, [0.5 / 3, 2 / 3, 0])


@given(seed=st.integers(0, 99), n=st.integers(1, 6))
def test_huber_is_half_the_square_near_and_the_distance_far(seed, n):
    t, z = np.random.default_rng(seed).normal(size=(2, n, 3))
    square, distance = nn.MSE().forward(z, t)[0], nn.L1().forward(z, t)[0]
    np.testing.assert_allclose(nn.Huber(1e3).forward(z, t)[0], square / 2)
    np.testing.assert_allclose(nn.Huber(1e-6).forward(z, t)[0], 1e-6 * distance, rtol=1e-3)


@pytest.mark.parametrize("delta", [0, -1, float("nan"), float("inf")])
def test_a_bad_delta_is_refused(delta):
    with pytest.raises(InputError, match="delta must be positive and finite"):
        nn.Huber(delta)


def test_a_bad_ignored_label_is_refused():
    with pytest.raises(InputError, match="ignore_index must be a whole number or None"):
        nn.CrossEntropy(ignore_index=0.5)


@given(n=st.integers(1, 4), c=st.integers(1, 5), smoothing=st.floats(0, 0.9))
def test_cross_entropy_of_equal_logits_is_log_c_and_its_gradient_sums_to_nothing(n, c, smoothing):
    loss, labels = nn.CrossEntropy(smoothing), np.zeros(n, np.int64)
    losses, saved = loss.forward(np.zeros((n, c)), labels)
    np.testing.assert_allclose(losses, np.log(c), atol=1e-12)
    np.testing.assert_allclose(loss.backward(np.ones(n), saved).sum(axis=1), 0, atol=1e-12)


@given(seed=st.integers(0, 99), n=st.integers(1, 6))
def test_binary_cross_entropy_is_cross_entropy_of_two_classes(seed, n):
    generator = np.random.default_rng(seed)
    z, labels = generator.normal(size=n), generator.integers(0, 2, n)
    two = np.stack([np.zeros(n), z], axis=1)
    one, other = nn.BCEWithLogits(), nn.CrossEntropy()
    np.testing.assert_allclose(one.forward(z, labels)[0], other.forward(two, labels)[0])
    np.testing.assert_array_equal(
        one.metrics(z, labels)["accuracy"], other.metrics(two, labels)["accuracy"]
    )


def test_mse_of_a_known_difference():
    losses, _ = nn.MSE().forward(np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[1, 4], [3, 0]]))
    np.testing.assert_array_equal(losses, [2.0, 4.5])


@pytest.mark.parametrize(
    ("loss", "shape", "targets", "error", "message"),
    [
        (nn.CrossEntropy(), (3,), np.array([0.0, 1.0]), InputError, "whole numbers, not .*float64"),
        (nn.CrossEntropy(), (3,), np.array([True]), InputError, "whole numbers, not .*bool"),
        (nn.CrossEntropy(), (3,), np.array([0, 3]), InputError, "from 0 to 2 .* from 0 to 3"),
        (nn.CrossEntropy(), (3,), np.array([-1, 2]), InputError, "from 0 to 2 .* from -1 to 2"),
        (nn.CrossEntropy(), (3,), np.array([[0, 1]]), ShapeError, r"shape \(\), not \(2,\)"),
        (nn.CrossEntropy(), (5, 3), np.array([0, 1]), ShapeError, r"shape \(5,\), not \(\)"),
        (nn.CrossEntropy(ignore_index=-1), (3,), np.array([-1, 3]), InputError, "or -1, which is"),
        (nn.CrossEntropy(ignore_index=-1), (3,), np.array([-2, 0]), InputError, "from -2 to 0"),
        (nn.Hinge(), (3,), np.array([0, 3]), InputError, "Hinge: labels .* from 0 to 2 .*to 3"),
        (nn.L1(), (3,), np.zeros((4, 2)), ShapeError, r"L1: .*\(3,\) .* \(2,\)"),
        (nn.Huber(), (1,), np.array([[np.nan]]), InputError, "Huber: targets must be finite"),
        (nn.MSE(), (3,), np.zeros((4, 2)), ShapeError, r"\(3,\) .* \(2,\)"),
        (nn.MSE(), (1,), np.array([[np.nan]]), InputError, "finite"),
        (nn.MSE(), (1,), np.array([["a"]]), InputError, "real numbers"),
        (nn.BCEWithLogits(), (), np.array([0, 2]), InputError, "from 0 to 1.* from 0 to 2"),
        (nn.BCEWithLogits(), (1,), np.array([0, 1]), ShapeError, "must be equal"),
    ],
)
def test_targets_that_do_not_fit_are_refused(loss, shape, targets, error, message):
    with pytest.raises(error, match=message):
        loss.check(shape, targets)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_bad_label_smoothing_is_refused(smoothing):
    with pytest.raises(InputError, match="at least 0 and less than 1"):
        nn.CrossEntropy(smoothing)
