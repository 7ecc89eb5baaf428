"""Data are taken as everyone types them, where there is one way to read them: equal runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import State, samples, trainer

from minidl import nn, optim
from minidl.data import Dataset
from minidl.errors import InputError, ShapeError
from minidl.nn import Loss
from minidl.train import Callback, Run, Trainer

X, Y = samples().inputs, samples().targets


def fitted(*given: Any, **settings: Any) -> State:
    made = trainer()
    made.fit(*given, epochs=1, batch_size=8, **settings)
    made.evaluate(*given)
    return State.of(made)


SPELLINGS = {
    "a pair": ((X, Y),),
    "a list": ([X, Y],),
    "two arguments": (X, Y),
    "lists of numbers": (X.tolist(), Y.tolist()),
    "a list of arrays": (list(X), list(Y)),
    "objects": (X.astype(object), Y.astype(object)),
    "whole floats": (X, Y.astype(np.float32)),
    "a column": (X, Y[:, None]),
    "a mask of nothing": (np.ma.masked_array(X, False), Y),
}


@pytest.mark.parametrize("how", SPELLINGS)
def test_equal_data_in_other_words_train_equally(how: str) -> None:
    fitted(samples()).assert_equals(fitted(*SPELLINGS[how]))


@pytest.mark.parametrize("given", [(X, Y), [X, Y]])
def test_validation_takes_a_pair(given: Any) -> None:
    made = trainer()
    made.fit(X, Y, epochs=1, batch_size=8, validation=given)
    assert made.history.epochs[0].validation == pytest.approx(made.evaluate(X, Y), rel=1e-5)


def test_true_and_false_are_labels_1_and_0() -> None:
    def labelled(labels: np.ndarray) -> State:
        made = trainer(nn.Sequential(nn.Linear(2)))
        made.fit(X, labels, epochs=1, batch_size=8)
        return State.of(made)

    labelled(Y % 2).assert_equals(labelled(Y % 2 == 1))


@pytest.mark.parametrize("loss", [nn.MSE(), nn.L1(), nn.Huber(), nn.BCEWithLogits()])
def test_numbers_are_a_column_for_one_output(loss: Loss) -> None:
    def trained(targets: np.ndarray) -> State:
        made = Trainer(nn.Sequential(nn.Linear(1)), loss, optim.SGD(0.1))
        made.fit(X, targets, epochs=2, batch_size=8)
        return State.of(made)

    numbers = np.linspace(0, 1, len(X))
    trained(numbers[:, None]).assert_equals(trained(numbers))
    with pytest.raises(ShapeError, match="must be equal"):
        Trainer(nn.Sequential(nn.Linear(2)), loss, optim.SGD(0.1)).fit(
            X, numbers, epochs=1, batch_size=8
        )


def test_tables_of_pandas_with_its_own_types() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X).convert_dtypes()
    labels = pandas.Series(Y).astype("Int64")
    fitted(samples()).assert_equals(fitted(table, labels))


class Table:
    """What pandas' tables of its own types give: an array of objects."""

    def __init__(self, array: np.ndarray, missing: Any = None) -> None:
        self.array = array.astype(object)
        if missing is not None:
            self.array[1, 0] = missing

    def to_numpy(self) -> np.ndarray:
        return self.array


def test_tables_that_turn_into_arrays() -> None:
    fitted(samples()).assert_equals(fitted(Table(X), Y))
    with pytest.raises(
        InputError, match=r"^train: inputs hold Ellipsis at \(1, 0\), which is no number"
    ):
        trainer().fit(Table(X, ...), Y, epochs=1, batch_size=8)
    with pytest.raises(InputError, match=r"inputs hold nan at \(1, 0\)"):
        trainer().fit(Table(X, np.nan), Y, epochs=1, batch_size=8)


REFUSED = {
    "a mask": (np.ma.masked_equal(X, X[3, 2]), Y),
    "a mask of labels": (X, np.ma.masked_equal(Y, 0)),
    "masks in a list": ([np.ma.masked_equal(row, X[3, 2]) for row in X], Y),
    "masks in lists": ([[np.ma.masked_equal(row, X[3, 2])] for row in X], Y),
    "masks among objects": (X, [np.ma.masked, *Y[1:]]),
    "a data set with labels": (samples(), Y),
    "None among numbers": (X, [None] * len(X)),
    "part labels": (X, Y + 0.5),
    "words": (X, ["one"] * len(X)),
}  # fmt: skip
WORDS = {
    "a mask": "inputs are a masked array with 1 numbers masked",
    "a mask of labels": "targets are a masked array",
    "masks in a list": "inputs are a masked array with 1 numbers masked",
    "masks in lists": "inputs are a masked array with 1 numbers masked",
    "masks among objects": "targets are a masked array with 1 numbers masked",
    "a data set with labels": "one Dataset, not a pair",
    "None among numbers": r"targets hold None at \(0,\), which is no number",
    "part labels": "labels must be whole numbers, not of type float64",
    "words": "targets have dtype <U3",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_could_mean_something_else_is_refused(what: str) -> None:
    with pytest.raises(InputError, match=WORDS[what]):
        trainer().fit(*REFUSED[what], epochs=1, batch_size=8)
    with pytest.raises(InputError, match=WORDS[what]):
        trainer().evaluate(*REFUSED[what])


def test_a_data_set_keeps_no_mask() -> None:
    with pytest.raises(InputError, match="inputs are a masked array with 22 numbers masked"):
        Dataset(np.ma.masked_array(X, np.tile(np.arange(4) == 1, (22, 1))), Y)


def test_one_callback_needs_no_list() -> None:
    class Count(Callback):
        seen = 0

        def epoch(self, run: Run) -> None:
            self.seen += 1

    count, calls = Count(), list[Run]()
    for given in (count, [count], calls.append, (calls.append,), None):
        trainer().fit(X, Y, epochs=1, batch_size=8, callbacks=given)
    assert count.seen == 2
    assert len(calls) == 2
