"""What cannot be trained is refused in one message, before any process starts.

The message says what was given and what is allowed, and the trainer is as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import multiprocess
import numpy as np
import pytest
from cases import DISTRIBUTED, MAKERS, State, network, samples, strategy, trainer

from minidl import data, models, nn, optim, plans, sim
from minidl import strategy as strategies
from minidl.errors import (
    DeadlockError,
    FitInterrupted,
    InputError,
    NonFiniteError,
    PlanError,
    ShapeError,
    UnknownNameError,
)
from minidl.nn import Array, Layer, Mode
from minidl.plans import Collective, ring_all_reduce
from minidl.runtime import Processes, Virtual
from minidl.strategy import (
    AllReduce,
    ParameterServer,
    Pipeline,
    RingAllReduce,
    Serial,
    Strategy,
)
from minidl.train import Trainer

X, Y = samples().inputs, samples().targets


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody start a process or reserve shared memory."""

    def refuse(*arguments: Any, **settings: Any) -> None:
        raise AssertionError("a process or a segment was made")

    monkeypatch.setattr(Processes, "launch", refuse)
    monkeypatch.setattr(Processes, "share", refuse)
    monkeypatch.setattr(multiprocess.process.BaseProcess, "start", refuse)


def refused(
    kind: type[Exception],
    message: str,
    act: Callable[[Trainer], object],
    made: Trainer | None = None,
) -> None:
    """The act is refused with this message, and a fresh or trained trainer is unchanged by it."""
    fresh, used = made or trainer(), trainer()
    used.fit(samples(), epochs=1, batch_size=8)
    for each in (fresh, used) if made is None else (fresh,):
        built = each._learnt is not None
        before = State.of(each) if built else None
        with pytest.raises(kind, match=message) as caught:
            act(each)
        assert type(caught.value) is kind
        assert "\n" not in str(caught.value)
        if before is not None:
            before.assert_equals(State.of(each))
        else:
            assert each._learnt is None
            assert (each.epoch, each.step, each.history.losses) == (0, 0, [])
            assert not each.model.parameters()


WRONG_DATA = {
    "labels with fractions": (
        (X, Y + 0.5),
        InputError,
        "labels must be whole numbers, not of type float64",
    ),
    "labels too large": (
        (X, Y + 1),
        InputError,
        "labels must be from 0 to 2 as the network has 3 outputs; they run from 1 to 3",
    ),
    "labels negative": ((X, Y - 1), InputError, "from 0 to 2 .* they run from -1 to 1"),
    "one-hot labels": (
        (X, np.eye(3, dtype=int)[Y]),
        ShapeError,
        r"labels must have shape \(\), not \(3,\)",
    ),
    "one label less": ((X, Y[:-1]), InputError, "22 inputs but 21 targets"),
    "nothing": ((X[:0], Y[:0]), InputError, "no samples; at least one is needed"),
    "NaN": (
        (np.where(np.arange(4) == 2, np.nan, X), Y),
        InputError,
        r"inputs hold nan at \(0, 2\); all numbers must be finite",
    ),
    "text": ((X.astype(str), Y), InputError, "inputs have dtype <U.*; integers or floats"),
    "complex numbers": (
        (X + 1j, Y),
        InputError,
        "inputs have dtype complex128; integers or floats",
    ),
    "lists of different lengths": (
        ([[1, 2], [3]], [0, 1]),
        InputError,
        "inputs cannot be one array",
    ),
    "a single number": ((1.0, 2), InputError, "inputs are one number; an array is needed"),
    "samples without features": (
        (np.zeros((22, 0)), Y),
        ShapeError,
        r"at least one feature on the last axis, not of shape \(0,\)",
    ),
    "no pair": (X, InputError, r"must be a Dataset or \(inputs, targets\), not ndarray"),
    "None": (None, InputError, r"must be a Dataset or \(inputs, targets\), not NoneType"),
    "two data sets": ((samples(), samples()), InputError, "one Dataset, not a pair"),
}


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("what", WRONG_DATA)
def test_wrong_data(what: str) -> None:
    given, kind, message = WRONG_DATA[what]
    ring = RingAllReduce(2)
    refused(kind, message, lambda t: t.fit(given, epochs=1, batch_size=8, strategy=ring))
    if "features" not in what:  # which a trained model refuses in other words
        refused(kind, message, lambda t: t.evaluate(given))
    refused(
        kind,
        message if "features" not in what else "shape|features",
        lambda t: (
            t.fit(samples(), epochs=1, batch_size=8, strategy=ring, validation=given)
            if given is not None
            else t.fit(given, epochs=1, batch_size=8)
        ),
    )


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("name", MAKERS)
def test_data_of_another_shape_than_at_first(name: str) -> None:
    made = trainer()
    made.fit(samples(), epochs=1, batch_size=8)
    chosen = strategy(name, Processes())
    message = r"Linear \(1\) was built with weight of shape \(4, 6\) .* needs \(5, 6\)"
    refused(
        ShapeError,
        message,
        lambda t: t.fit(samples(9, (5,)), epochs=1, batch_size=3, strategy=chosen),
        made,
    )
    refused(ShapeError, message, lambda t: t.evaluate(samples(9, (5,))), made)
    refused(ShapeError, message, lambda t: t.predict(np.zeros((2, 5))), made)
    made.fit(samples(9, (2, 2)), epochs=1, batch_size=3)


def test_a_first_fit_that_is_refused_leaves_other_shapes_open() -> None:
    made = trainer()
    with pytest.raises(InputError):
        made.fit((np.zeros((9, 7)), np.full(9, 5)), epochs=1, batch_size=3)
    with pytest.raises(ShapeError):
        made.evaluate((np.zeros((9, 0)), np.zeros(9, int)))
    made.fit(samples(), epochs=1, batch_size=8)
    straight = trainer()
    straight.fit(samples(), epochs=1, batch_size=8)
    State.of(straight).assert_equals(State.of(made))


@pytest.mark.parametrize(
    ("inputs", "targets", "rule"),
    [
        (samples().inputs, samples().targets + 9, optim.SGD(0.1)),
        (samples().inputs[:, :1], samples().targets, optim.SGD(0.1)),
        (
            samples().inputs,
            samples().targets,
            optim.Groups(optim.SGD(0.1), groups=((("none",), optim.SGD(0.2)),)),
        ),
    ],
)
def test_a_fit_that_is_refused_leaves_the_weights_of_a_model_alone(
    inputs: np.ndarray, targets: np.ndarray, rule: optim.Optimizer
) -> None:
    """Another trainer's model was left rounded to the type of the one that was refused."""
    made = trainer(dtype="float64")
    made.evaluate(samples())
    before = made.weights()
    with pytest.raises(InputError):
        Trainer(made.model, made.task, rule, dtype="float32").fit(
            (inputs, targets), epochs=1, batch_size=8
        )
    for name, weights in made.weights().items():
        np.testing.assert_array_equal(weights, before[name], strict=True)


def test_an_optimizer_that_remembers_something_else_cannot_go_on() -> None:
    """It was an IndexError from within."""
    made = trainer(optimizer=optim.SGD(0.1))
    made.fit(samples(), epochs=1, batch_size=8)
    before, made.optimizer = State.of(made), optim.Adam(0.01)
    with pytest.raises(InputError, match=r"Adam remembers \('m', 'v'\).*make another Trainer"):
        made.fit(samples(), epochs=1, batch_size=8)
    State.of(made).assert_equals(before)


@pytest.mark.usefixtures("no_process")
def test_regression_targets_of_another_shape() -> None:
    made = Trainer(nn.Sequential(nn.Linear(3)), nn.MSE(), optim.SGD(lr=0.1))
    with pytest.raises(ShapeError, match=r"\(3,\) for each sample, the targets \(2,\)"):
        made.fit((X, np.zeros((22, 2))), epochs=1, batch_size=8)
    with pytest.raises(InputError, match="targets hold inf"):
        made.fit((X, np.full((22, 3), np.inf)), epochs=1, batch_size=8)


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1, not 1.5"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, not 0"),
        ({"batch_size": -3}, "batch_size must be a whole number of at least 1, not -3"),
        ({"batch_size": "all"}, "batch_size must be a whole number of at least 1, not 'all'"),
        ({"strategy": "ring"}, "strategy must be a Strategy, not str"),
        ({"strategy": RingAllReduce}, "strategy must be a Strategy, not .*"),
        (
            {"batch_size": 3, "strategy": RingAllReduce(4)},
            "a batch of 3 cannot be shared by 4 workers: batch_size must be at least 4",
        ),
        (
            {"batch_size": 1, "strategy": ParameterServer(2)},
            "a batch of 1 cannot be shared by 2 workers: batch_size must be at least 2",
        ),
        (
            {"strategy": Pipeline(8)},
            "8 stages need as many layers, and the model has 7: choose between 1 and 7 stages",
        ),
        (
            {"strategy": RingAllReduce(2, plan=lambda size: ring_all_reduce(3))},
            "the plan is for 3 ranks, not for 2",
        ),
    ],
)
def test_wrong_settings_of_a_fit(settings: dict[str, Any], message: str) -> None:
    given = {"epochs": 1, "batch_size": 8} | settings
    refused(InputError, message, lambda t: t.fit(samples(), **given))


class Early(sim.Law):
    """A law of one's own, by which one mini-batch in a hundred ends before it begins."""

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return u - 0.01


class Never(sim.SlowWorkers):
    """A law of one's own, by which the second learner's third mini-batch takes no known time."""

    def draws(self, seed: int, learner: int, first: int, count: int) -> np.ndarray:
        numbers = np.arange(first, first + count)
        return np.where((numbers == 2) & (learner == 1), np.nan, 1.0)


UP_TO_P = "is a whole number from 1 to the 4 learners, not"
NO_TIME = "time for mini-batch {} is a finite number of at least 0, not {}"


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("clock", ["real", "virtual"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(({"rule": rule(k)}, f"{rule.__name__}: k {UP_TO_P} {k}")
          for rule in (plans.KSync, plans.KAsync) for k in (0, 5, -1, 1.0)),
        *(({"rule": rule(0)}, f"{rule.__name__}: k .* of at least 1, not 0")
          for rule in (plans.KBatchSync, plans.KBatchAsync)),
        *(({"rule": plans.Softsync(n)}, f"Softsync: n {UP_TO_P} {n}") for n in (0, 5)),
        *(({"algorithm": "torus", "options": {"shape": shape}}, f"product is 4.*{shape[0]}, ")
          for shape in ((2, 3), (0, 4), (-2, -2))),
        ({"algorithm": "star"}, "there is no all-reduce 'star'; there are 'ring', "),
        *(({"workers": 23} | more, "a data set of 22 cannot be shared by 23 workers")
          for more in ({"rule": plans.FullySync()}, {"rule": plans.Async()}, {"plan": None})),
        *(({"straggler": Early()} | more, r"Early: learner \d's " + NO_TIME.format(r"\d+", "-0.0"))
          for more in ({"rule": plans.FullySync()}, {"rule": plans.Async()}, {"plan": None})),
        ({"rule": plans.KAsync(2), "straggler": Never(sim.Constant(1.0), {})},
         "Never: learner 1's " + NO_TIME.format(2, "nan")),
        *(({"straggler": sim.SlowWorkers(sim.Constant(1.0), {4: 10.0})} | more,
           "SlowWorkers: there is no learner 4, they are 0 to 3")
          for more in ({"rule": plans.Async()}, {"plan": None})),
        ({"rule": plans.Async(), "straggler": 0.1}, "straggler must be a Law of minidl.sim, not 0"),
    ],
)  # fmt: skip
def test_what_data_parallelism_refuses(settings: dict[str, Any], message: str, clock: Any) -> None:
    make = ParameterServer if "rule" in settings else AllReduce
    how = make(**{"workers": 4} | settings)
    with pytest.raises(InputError, match=message) as caught:
        trainer().fit(samples(), epochs=1, batch_size=32, strategy=how, clock=clock)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_process")
def test_a_pipeline_needs_layers_in_a_row() -> None:
    made = trainer(nn.Residual(nn.Linear(4)))
    refused(
        InputError,
        "a pipeline cuts a Sequential into stages; Residual is none",
        lambda t: t.fit((X, Y), epochs=1, batch_size=8, strategy=Pipeline(2)),
        made,
    )
    shared = nn.Linear(4)
    twice = trainer(nn.Sequential(shared, nn.Tanh(), shared))
    refused(
        InputError,
        "0.weight is used in stages 0 and 1; a layer with parameters can live in one stage only",
        lambda t: t.fit((X, Y), epochs=1, batch_size=8, strategy=Pipeline(2)),
        twice,
    )
    twice.fit((X, Y), epochs=1, batch_size=8)


@pytest.mark.parametrize("make", [RingAllReduce, ParameterServer, Pipeline])
@pytest.mark.parametrize("count", [0, -1, 1.5, "2", None, True])
def test_a_strategy_needs_a_whole_number_of_ranks(
    make: Callable[[Any], Strategy], count: Any
) -> None:
    with pytest.raises(InputError, match="must be a whole number of at least 1, not "):
        make(count)


@pytest.mark.parametrize("link", ["slow", (50e-6, 125e6), 125e6, plans.Link])
def test_a_link_is_a_link(link: Any) -> None:
    with pytest.raises(InputError, match=r"link is a Link\(latency, bandwidth\) of minidl.plans, "):
        Processes(link=link)


def test_settings_of_strategies() -> None:
    with pytest.raises(InputError, match="micro_batches must be a whole number of at least 1"):
        Pipeline(2, micro_batches=0)
    with pytest.raises(InputError, match="micro_batches must be a whole number of at least 1"):
        Serial(micro_batches=0)
    with pytest.raises(UnknownNameError, match="unknown schedule 'zigzag'; known: .*gpipe"):
        Pipeline(2, schedule="zigzag")


@pytest.mark.parametrize(
    ("make", "name", "known"),
    [
        (data.make, "digit", "unknown data set 'digit'; known: digits, fashion-mnist, fashion-mn"),
        (models.make, "lenet", "unknown model 'lenet'; known: alexnet, char_lstm"),
        (
            lambda name: strategies.make(name, 2),
            "rings",
            "'rings'; known: pipeline, ring, serial, s",
        ),
    ],
)
def test_unknown_names_list_the_known_ones(
    make: Callable[[str], object], name: str, known: str
) -> None:
    with pytest.raises(UnknownNameError, match=re.escape(known)):
        make(name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": nn.Linear}, "model must be a Layer, not type"),
        ({"model": None}, "model must be a Layer, not NoneType"),
        ({"loss": "cross entropy"}, "loss must be a Loss or Task, not str"),
        ({"optimizer": 0.1}, "optimizer must be a Optimizer, not float|an Optimizer, not float"),
        ({"dtype": "float16"}, "dtype must be float32 or float64, not float16"),
        ({"dtype": "floaty"}, "dtype must be float32 or float64, not floaty"),
        ({"dtype": int}, "dtype must be float32 or float64, not .*int"),
        ({"dtype": None}, "dtype must be float32 or float64, not None"),
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ({"seed": 0.5}, "seed must be a whole number of at least 0, not 0.5"),
        ({"seed": None}, "seed must be a whole number of at least 0, not None"),
    ],
)
def test_settings_of_a_trainer(settings: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "model": network(), "loss": nn.CrossEntropy(), "optimizer": optim.SGD(lr=0.1),
    } | settings  # fmt: skip
    with pytest.raises(InputError, match=message):
        Trainer(**given)


@pytest.mark.parametrize("inputs", [np.zeros((0, 4)), [[1, 2], [3]], "text", 5, None])
def test_nothing_to_predict(inputs: Any) -> None:
    refused(InputError, "inputs|no samples", lambda t: t.predict(inputs))


class Spoiler(Layer):
    """The identity, but for one number at one step."""

    def __init__(self, step: int, number: float, gradient: bool = False) -> None:
        self.step, self.number, self.gradient = step, number, gradient

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        if not mode.training:
            return x, None
        y = x.copy()
        if mode.step == self.step and not self.gradient and len(y):
            y[-1, 0] = self.number
        return y, mode.step

    def backward(self, dy: Array, saved: Any) -> Array:
        return dy * self.number if saved == self.step and self.gradient else dy


def spoilt(place: int, spoiler: Layer) -> nn.Sequential:
    layers = list(network())
    return nn.Sequential(*layers[:place], spoiler, *layers[place:])


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize(
    ("place", "number"),  # but not infinity in the input of a tanh, which bounds it
    [(0, np.nan), (3, np.nan), (3, np.inf), (4, -np.inf), (7, np.nan), (7, np.inf)],
)
def test_a_loss_that_is_not_finite_is_traced_to_its_layer(
    name: str, place: int, number: float
) -> None:
    made = trainer(spoilt(place, Spoiler(4, number)))
    message = (
        rf"the loss is not finite at step 4: NaN or infinity first appears in the output of "
        rf"Spoiler \({place}\)\. A lower learning rate often helps\."
    )
    with pytest.raises(NonFiniteError, match=message) as caught:
        made.fit(samples(), epochs=4, batch_size=8, strategy=strategy(name))
    assert "\n" not in str(caught.value)
    after_one = trainer(spoilt(place, Spoiler(4, number)))
    after_one.fit(samples(), epochs=1, batch_size=8, strategy=strategy(name))
    State.of(after_one).assert_equals(State.of(made))
    for layer in made.model.children():  # which were watched to find it
        assert "forward" not in layer[1].__dict__


@pytest.mark.parametrize("name", DISTRIBUTED)
def test_a_loss_that_is_not_finite_in_a_worker_is_named_by_it(name: str) -> None:
    who = {"ring": "worker 1", "server": "learner 2", "pipeline": "stage 1"}[name]
    # In the last sample of each slice, so of every worker: the news of either may come first.
    made = trainer(spoilt(6, Spoiler(4, np.nan)))
    with pytest.raises(NonFiniteError, match=r"at step 4: .* Spoiler \(6\)") as caught:
        made.fit(samples(), epochs=4, batch_size=8, strategy=strategy(name, Processes(deadline=20)))
    assert str(caught.value).startswith(who.split()[0])
    assert made.epoch <= 1
    assert all(np.isfinite(array).all() for array in made.weights().values())


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("name", MAKERS)
def test_a_learning_rate_that_is_far_too_high(name: str) -> None:
    made = trainer(
        nn.Sequential(nn.Linear(8), nn.ReLU(), nn.Linear(8), nn.ReLU(), nn.Linear(2)),
        loss=nn.MSE(),
        optimizer=optim.SGD(lr=1e6),
    )
    targets = X[:, :2] * 3
    message = (
        r"the loss is not finite at step [1-9]\d*: NaN or infinity first appears in "
        r"(the output of Linear \([024]\)|the loss itself: every layer's output is finite)"
    )
    with pytest.raises(NonFiniteError, match=message):
        made.fit((X, targets), epochs=20, batch_size=8, strategy=strategy(name))


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("name", MAKERS)
def test_a_gradient_that_is_not_finite_shows_in_the_next_step(name: str) -> None:
    made = trainer(spoilt(7, Spoiler(4, np.inf, gradient=True)))
    with pytest.raises(NonFiniteError, match=r"at step 5: .* in the output of (Linear|Tanh)"):
        made.fit(samples(), epochs=4, batch_size=8, strategy=strategy(name))
    assert made.epoch == 1


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("name", MAKERS)
def test_weights_that_are_not_finite_are_never_taken_over(name: str) -> None:
    """Those of an epoch's last step meet no loss any more."""
    made = trainer(spoilt(7, Spoiler(5, np.nan, gradient=True)))
    with pytest.raises(
        NonFiniteError, match=r"\d.(weight|bias) is not finite after step 5: .*rate"
    ):
        made.fit(samples(), epochs=2, batch_size=8, strategy=strategy(name))
    assert made.epoch == 1
    assert all(np.isfinite(array).all() for array in made.weights().values())


def hasty_ring(size: int) -> Collective:
    """A ring that ends a step too early."""
    plan = ring_all_reduce(size)
    return replace(plan, programs=tuple(program[:-1] for program in plan.programs))


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("clock", ["real", "virtual"])
@pytest.mark.parametrize("plan", [hasty_ring, plans.broadcast, plans.reduce_scatter])
def test_a_plan_that_does_not_sum_for_all_never_trains(plan: Any, clock: Any) -> None:
    strategy = AllReduce(3, plan=plan)
    with pytest.raises(PlanError, match=r"in the end rank \d holds of chunk \d "):
        trainer().fit(samples(), epochs=1, batch_size=8, strategy=strategy, clock=clock)


@pytest.mark.parametrize("plan", [ring_all_reduce(2), 2, lambda size: None])
def test_a_plan_is_a_function_that_makes_one(plan: Any) -> None:
    refused(
        InputError,
        "plan is a function that makes a Collective for so many ranks, such as .*, not ",
        lambda t: t.fit(samples(), epochs=1, batch_size=8, strategy=AllReduce(2, plan=plan)),
    )


def test_an_interrupt_before_the_first_step_says_so_too() -> None:
    class Slow:
        def __array__(self, *_: Any, **__: Any) -> np.ndarray:
            raise KeyboardInterrupt

    with pytest.raises(FitInterrupted, match="0 of 3 epochs are done"):
        trainer().fit(Slow(), np.zeros(3), epochs=3, batch_size=3)


@pytest.mark.parametrize("rule", [plans.Async, plans.KSync, "async", 4, None])
def test_a_rule_is_a_rule(rule: Any) -> None:
    with pytest.raises(InputError, match="rule must be a Rule of minidl.plans, such as .*, not "):
        ParameterServer(3, rule)


def polite_ring(size: int) -> Collective:
    """A ring on which everybody wants to receive before sending."""
    plan = ring_all_reduce(size)
    ordered = tuple(
        tuple((instruction,) for step in program for instruction in reversed(step))
        for program in plan.programs
    )
    return Collective("polite ring", ordered, plan.chunks)


@pytest.mark.parametrize(
    "runtime", [Virtual(), Processes(deadline=5)], ids=["virtual", "processes"]
)
def test_a_plan_that_deadlocks_is_an_error_that_says_who_waits(runtime: Any) -> None:
    made = trainer()
    with pytest.raises(DeadlockError, match=r"worker 0.* wait.*worker 1.* wait"):
        made.fit(
            samples(),
            epochs=1,
            batch_size=8,
            strategy=RingAllReduce(2, plan=polite_ring, runtime=runtime),
        )
    assert made.epoch == 0
    made.fit(samples(), epochs=1, batch_size=8, strategy=RingAllReduce(2, runtime=Virtual()))
