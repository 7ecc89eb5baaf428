"""Several steps of each update rule equal PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minidl import kernels, optim

torch = pytest.importorskip("torch", reason="PyTorch, the oracle of these tests, is not installed")

rates = st.floats(1e-4, 1.0)
fractions = st.floats(0, 0.99)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


def assert_same_steps(rule, other, steps, size, seed):
    generator = np.random.default_rng(seed)
    w = generator.normal(size=size)
    of_w = torch.tensor(w, requires_grad=True)
    of_rule = other([of_w])
    slots = {name: np.zeros(size) for name in rule.slots}
    for step in range(steps):
        g = generator.normal(size=size)
        rule.step(w, g, slots, step)
        of_w.grad = torch.tensor(g)
        of_rule.step()
        np.testing.assert_allclose(w, of_w.detach().numpy(), rtol=1e-9, atol=1e-11)


@given(lr=rates, momentum=fractions, nesterov=st.booleans(), decay=fractions,
       steps=st.integers(1, 6), size=st.integers(1, 9), seed=st.integers(0, 99))  # fmt: skip
def test_sgd(lr, momentum, nesterov, decay, steps, size, seed):
    assume(momentum or not nesterov)
    settings = {"momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
    assert_same_steps(
        optim.SGD(lr, **settings), lambda w: torch.optim.SGD(w, lr, **settings), steps, size, seed
    )


@given(lr=rates, betas=st.tuples(fractions, fractions), eps=st.floats(1e-8, 1e-2), decay=fractions,
       steps=st.integers(1, 6), size=st.integers(1, 9), seed=st.integers(0, 99))  # fmt: skip
def test_adam(lr, betas, eps, decay, steps, size, seed):
    settings = {"betas": betas, "eps": eps, "weight_decay": decay}
    assert_same_steps(
        optim.Adam(lr, **settings), lambda w: torch.optim.Adam(w, lr, **settings), steps, size, seed
    )


@given(lr=rates, betas=st.tuples(fractions, fractions), eps=st.floats(1e-8, 1e-2), decay=fractions,
       steps=st.integers(1, 6), size=st.integers(1, 9), seed=st.integers(0, 99))  # fmt: skip
def test_adamw(lr, betas, eps, decay, steps, size, seed):
    settings = {"betas": betas, "eps": eps, "weight_decay": decay}
    ours, theirs = optim.AdamW(lr, **settings), lambda w: torch.optim.AdamW(w, lr, **settings)
    assert_same_steps(ours, theirs, steps, size, seed)


@given(lr=rates, eps=st.floats(1e-8, 1e-2), decay=fractions,
       steps=st.integers(1, 6), size=st.integers(1, 9), seed=st.integers(0, 99))  # fmt: skip
def test_adagrad(lr, eps, decay, steps, size, seed):
    settings = {"eps": eps, "weight_decay": decay}
    ours, theirs = optim.Adagrad(lr, **settings), lambda w: torch.optim.Adagrad(w, lr, **settings)
    assert_same_steps(ours, theirs, steps, size, seed)


@given(lr=rates, alpha=fractions, momentum=fractions, eps=st.floats(1e-8, 1e-2), decay=fractions,
       steps=st.integers(1, 6), size=st.integers(1, 9), seed=st.integers(0, 99))  # fmt: skip
def test_rmsprop(lr, alpha, momentum, eps, decay, steps, size, seed):
    settings = {"alpha": alpha, "momentum": momentum, "eps": eps, "weight_decay": decay}
    ours, theirs = optim.RMSprop(lr, **settings), lambda w: torch.optim.RMSprop(w, lr, **settings)
    assert_same_steps(ours, theirs, steps, size, seed)


@given(limit=st.floats(0.1, 5), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
       seed=st.integers(0, 99))  # fmt: skip
def test_clipping(limit, sizes, seed):
    gradients = np.random.default_rng(seed).normal(size=sum(sizes))
    for name, how in (
        ("norm", torch.nn.utils.clip_grad_norm_),
        ("value", torch.nn.utils.clip_grad_value_),
    ):
        weights = [torch.zeros(size, dtype=torch.float64) for size in sizes]
        for weight, part in zip(weights, torch.tensor(gradients).split(sizes), strict=True):
            weight.grad = part.clone()
        how(weights, limit)
        w = np.zeros(sum(sizes))
        optim.Clipped(optim.SGD(1.0), **{name: limit}).step(w, gradients, {}, 0)
        np.testing.assert_allclose(-w, torch.cat([weight.grad for weight in weights]), rtol=1e-9)


@given(lr=rates, factor=st.floats(1e-3, 0.99), length=st.integers(1, 9))
def test_schedules(lr, factor, length):
    def torchs(name, *arguments, **settings):
        weight = torch.zeros(1, requires_grad=True)
        rule = torch.optim.SGD([weight], lr)
        schedule = getattr(torch.optim.lr_scheduler, name)(rule, *arguments, **settings)
        for _ in range(length + 1):
            yield rule.param_groups[0]["lr"]
            rule.step()
            schedule.step()

    for ours, theirs in (
        (optim.StepDecay(lr, length, factor), torchs("StepLR", length, factor)),
        (optim.Exponential(lr, factor), torchs("ExponentialLR", factor)),
        (optim.Cosine(lr, length, 1e-5), torchs("CosineAnnealingLR", length, 1e-5)),
        (optim.Polynomial(lr, length, 2.0), torchs("PolynomialLR", length, 2.0)),
        (
            optim.LinearWarmup(lr, length, lr * factor),
            torchs("LinearLR", factor, total_iters=length),
        ),
    ):
        expected = list(theirs)
        found = [ours(step) for step in range(length + 1)]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
