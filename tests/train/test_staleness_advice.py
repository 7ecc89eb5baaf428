"""Where late gradients may be why nothing was learnt, the fit says so; elsewhere it does not."""

from __future__ import annotations

import warnings

import pytest
from cases import samples, trainer

from minidl import nn, optim, plans
from minidl.data import Dataset
from minidl.errors import NonFiniteError
from minidl.strategy import ParameterServer

DATA = samples(40)
LATE = r"each had missed \d\.\d updates on average, \d+ at most.*StalenessAware"


def fit(rule: plans.Rule, lr: float, data: Dataset = DATA, **settings: nn.Loss) -> None:
    trainer(optimizer=optim.SGD(lr, momentum=0.9), **settings).fit(
        data, epochs=3, batch_size=8, strategy=ParameterServer(8, rule), clock="virtual"
    )


def test_a_run_that_learns_nothing_from_late_gradients_is_told_why() -> None:
    with pytest.warns(UserWarning, match=f"the training loss has not fallen.*{LATE}") as caught:
        fit(plans.Async(), lr=3.0)
    assert caught[0].filename == __file__  # the line that called fit


@pytest.mark.parametrize(("rule", "lr"), [(plans.Async(), 0.001), (plans.FullySync(), 100.0)])
def test_a_run_that_learns_or_has_no_late_gradients_is_not(rule: plans.Rule, lr: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(rule, lr)


def test_a_loss_that_is_not_finite_names_late_gradients_too() -> None:
    numbers = Dataset(DATA.inputs, DATA.inputs[:, :3])
    with pytest.raises(NonFiniteError, match=f"lower learning rate often helps.*{LATE}"):
        fit(plans.Async(), 1e30, numbers, loss=nn.MSE())
    with pytest.raises(NonFiniteError, match=r"often helps\.$"):
        fit(plans.FullySync(), 1e30, numbers, loss=nn.MSE())
