"""Schedules equal PyTorch's; the update rules are compared with it in `tests/table`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import optim

torch = pytest.importorskip("torch", reason="PyTorch, the oracle of these tests, is not installed")

rates = st.floats(1e-4, 1.0)


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
