"""Mixed precision: float16 inside, float32 kept, a scale that finds its size by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import State, network, samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minidl import data, kernels, nn, optim, rng, strategy
from minidl.errors import InputError, NonFiniteError
from minidl.optim import MixedPrecision
from minidl.optim.mixed_precision import PATIENCE
from minidl.runtime import Processes, Virtual
from minidl.tasks import Adversarial
from minidl.train import Callback, Run, Trainer

pytestmark = pytest.mark.filterwarnings("ignore:mixed precision computes in float16")
PRECISION, MOMENTUM = MixedPrecision(), optim.SGD(lr=0.1, momentum=0.9)
FIT: dict[str, Any] = {"batch_size": 6, "validation": samples(7)}


def mixed(
    model: nn.Layer | None = None,
    precision: MixedPrecision | None = PRECISION,
    optimizer: optim.Optimizer = MOMENTUM,
    loss: nn.Loss | None = None,
) -> Trainer:
    model = network() if model is None else model
    return Trainer(model, loss or nn.CrossEntropy(), optimizer, precision=precision)


class Probe(nn.Layer):
    """Hands everything on, and notes its type."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def forward(self, x: nn.Array, mode: nn.Mode) -> tuple[nn.Array, Any]:
        if mode.training:
            self.seen.append(x.dtype)
        return x, None

    def backward(self, dy: nn.Array, saved: Any) -> nn.Array:
        self.seen.append(dy.dtype)
        return dy


LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(3), (4,)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, padding=1), (4, 4, 2)),
    "depthwise": (lambda: nn.Conv2d(2, 3, groups=2), (4, 4, 2)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 2, 2), (2, 2, 2)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (4, 4, 2)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (4, 4, 2)),
    "AvgPool1d": (lambda: nn.AvgPool1d(2, 2, 1, True, False), (4, 2)),
    "GlobalMaxPool2d": (nn.GlobalMaxPool2d, (4, 4, 2)),
    "Pad2d": (lambda: nn.Pad2d(1, "reflect"), (4, 4, 2)),
    "BatchNorm": (nn.BatchNorm, (4,)),
    "LayerNorm": (nn.LayerNorm, (4,)),
    "GroupNorm": (lambda: nn.GroupNorm(2), (4, 4, 2)),
    "RMSNorm": (nn.RMSNorm, (4,)),
    "ReLU": (nn.ReLU, (4,)),
    "PReLU": (lambda: nn.PReLU(per_channel=True), (4,)),
    "Hardswish": (nn.Hardswish, (4,)),
    "Mish": (nn.Mish, (4,)),
    "Softsign": (nn.Softsign, (4,)),
    "GELU": (nn.GELU, (4,)),
    "SiLU": (nn.SiLU, (4,)),
    "ELU": (nn.ELU, (4,)),
    "Softmax": (nn.Softmax, (4,)),
    "Dropout": (lambda: nn.Dropout(0.4), (4,)),
    "RNN": (lambda: nn.RNN(3), (4, 2)),
    "GRU": (lambda: nn.GRU(3, bidirectional=True), (4, 2)),
    "LSTM": (lambda: nn.LSTM(3, layers=2), (4, 2)),
    "Residual": (lambda: nn.Residual(nn.Linear(4)), (4,)),
}


@pytest.mark.parametrize("chosen", kernels.CHOICES)
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_each_layer_in_half_precision_is_the_layer_but_for_rounding(name: str, chosen: str) -> None:
    make, shape = LAYERS[name]
    numbers = rng.stream(0, name)
    x, mode = numbers.normal(size=(5, *shape)).astype(np.float16), nn.Mode(True, batch_size=5)
    found: dict[Any, Any] = {}
    dy = None
    with kernels.using(chosen):
        for dtype in (np.float32, np.float16):
            layer = make()
            buffer = layer.initialise(shape)
            buffer.bind(buffer.values.astype(dtype), buffer.grads.astype(dtype))
            y, saved = layer.forward(x.astype(dtype), mode)
            dy = numbers.normal(size=y.shape).astype(np.float16) if dy is None else dy
            dx = layer.backward(dy.astype(dtype), saved)
            assert (y.dtype, dx.dtype, buffer.grads.dtype) == (dtype, dtype, dtype)
            found[dtype] = y, dx, buffer.grads
    for wide, narrow in zip(found[np.float32], found[np.float16], strict=True):
        np.testing.assert_allclose(narrow, wide, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    "make", [nn.LayerNorm, nn.RMSNorm, lambda: nn.GroupNorm(2), nn.BatchNorm, nn.GELU]
)
def test_squares_beyond_half_precision_do_no_harm(make: Any) -> None:
    """The square of 1000 is infinite in float16; what norms make of it is not."""
    x = 1000 * rng.stream(0, "large").normal(size=(5, 4)).astype(np.float16)
    found = []
    for dtype in (np.float32, np.float16):
        layer = make()
        buffer = layer.initialise((4,))
        buffer.bind(buffer.values.astype(dtype), buffer.grads.astype(dtype))
        found.append(layer.forward(x.astype(dtype), nn.Mode(True, batch_size=5))[0])
    np.testing.assert_allclose(found[1], found[0], rtol=0.01, atol=0.01)


def test_activations_and_gradients_are_half_as_wide_and_weights_are_not() -> None:
    first, last = Probe(), Probe()
    trainer = mixed(nn.Sequential(first, nn.Linear(5), nn.Tanh(), last, nn.Linear(3)))
    trainer.fit(samples(), epochs=1, **FIT)
    assert {*first.seen, *last.seen} == {np.dtype(np.float16)}
    assert {value.dtype for value in trainer.weights().values()} == {np.dtype(np.float32)}
    # Weights are not merely float16 numbers in float32: small updates have added up.
    assert any((w.astype(np.float16) != w).any() for w in trainer.weights().values())
    assert trainer.predict(samples()).dtype == np.float32


def test_a_run_is_near_the_float32_run() -> None:
    wide, narrow = mixed(precision=None), mixed()
    for trainer in (wide, narrow):
        trainer.fit(samples(), epochs=10, **FIT)
    np.testing.assert_allclose(narrow.history.losses, wide.history.losses, rtol=0.05, atol=0.02)
    validation = narrow.history.last().validation
    assert validation == pytest.approx(narrow.evaluate(FIT["validation"]), rel=1e-5)


def test_without_the_scale_small_gradients_are_lost() -> None:
    """A gradient below 6e-8 is 0 in float16; with the loss scaled it is not."""

    def moved(scale: float) -> bool:
        numbers = rng.stream(0, "small")
        small = data.Dataset(numbers.normal(size=(8, 3)) * 1e-5, numbers.normal(size=(8, 2)) * 1e-3)
        trainer = mixed(
            nn.Sequential(nn.Linear(2, bias=False)), MixedPrecision(scale, every=10**6),
            optim.SGD(lr=1e4), nn.MSE(),
        )  # fmt: skip
        trainer.predict(small)
        before = trainer.weights()["0.weight"]
        trainer.fit(small, epochs=1, batch_size=8)
        return bool((trainer.weights()["0.weight"] != before).any())

    assert moved(2.0**15)
    assert not moved(1.0)


def test_overflow_skips_the_step_and_lowers_the_scale() -> None:
    trainer = mixed(precision=MixedPrecision(2.0**40))
    trainer.predict(samples())
    before = trainer.weights()
    trainer.fit(samples(), epochs=1, batch_size=22)
    assert loss_scale(trainer) == (2.0**39, 0)
    for name, value in trainer.weights().items():
        np.testing.assert_array_equal(value, before[name])
    trainer.fit(samples(), epochs=30, batch_size=22)
    assert loss_scale(trainer)[0] < 2.0**30
    assert loss_scale(trainer)[1] > 0
    assert trainer.history.losses[-1] < trainer.history.losses[0]


def loss_scale(trainer: Trainer) -> tuple[float, float]:
    scale, well, _ = trainer._existing().buffer.parameters["loss_scale"].value
    return float(scale), float(well)


STRATEGIES: dict[str, strategy.Strategy] = {
    "serial": strategy.Serial(),
    "ring": strategy.RingAllReduce(2, runtime=Virtual()),
    "server": strategy.ParameterServer(2, runtime=Virtual()),
    "servers": strategy.ParameterServer(2, servers=2, runtime=Virtual()),
    "pipeline": strategy.Pipeline(2, 2, runtime=Virtual()),
}


class Mean(nn.Loss):
    """The output itself: its gradient is the same in every step."""

    def forward(self, outputs: nn.Array, targets: nn.Array) -> tuple[nn.Array, Any]:
        return outputs.sum(axis=-1), outputs.shape

    def backward(self, dlosses: nn.Array, saved: Any) -> nn.Array:
        return np.broadcast_to(dlosses[:, None], saved).copy()


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_skipped_step_counts_nowhere(name: str, tmp_path: Path) -> None:
    """As with PyTorch's GradScaler: Adam's updates under a constant gradient are lr each."""

    def made() -> Trainer:
        model = nn.Sequential(
            nn.Linear(2, bias=False, weight_init=nn.init.zeros),
            nn.Linear(1, weight_init=nn.init.ones),
        )
        rule = optim.Adam(optim.StepDecay(0.125, every=2, factor=0.5))
        return mixed(model, MixedPrecision(2.0**16), rule, Mean())

    # -4 · 2¹⁶ and its next halves overflow, and these steps are skipped.
    inputs, trainer, moves = data.Dataset(np.full((2, 2), -4.0), np.zeros((2, 1))), made(), []
    trainer.predict(inputs)
    for _ in range(8):
        before = trainer.weights()["1.bias"]
        trainer.fit(inputs, epochs=1, batch_size=2, strategy=STRATEGIES[name])
        if (moved := before - trainer.weights()["1.bias"]).any():
            moves.append(float(moved[0]))
        trainer.save(tmp_path / "now.safetensors")
        trainer = made()  # what is counted is in the checkpoint
        trainer.load(tmp_path / "now.safetensors")
    assert 4 <= len(moves) < 8
    np.testing.assert_allclose(moves[:4], [0.125, 0.125, 0.0625, 0.0625], rtol=1e-5)
    assert trainer._existing().buffer.parameters["loss_scale"].value[2] == 8 - len(moves)


def test_what_is_restored_was_not_trained_in_the_steps_skipped_since() -> None:
    """Adam's correction counts the updates made, and went on as if these had been some."""
    states: list[np.ndarray] = []

    class Back(Callback):
        def epoch(self, run: Run) -> None:
            states.append(run.state.copy())

        def end(self, run: Run) -> None:
            run.restore(states[0])

    inputs = data.Dataset(np.full((2, 2), -4.0), np.zeros((2, 1)))
    ends = []
    for callback in (Back(), None):
        model = nn.Sequential(nn.Linear(1, weight_init=nn.init.ones))
        made = mixed(model, MixedPrecision(2.0**20), optim.Adam(0.1), Mean())
        made.fit(inputs, epochs=6, batch_size=2, callbacks=callback)
        ends.append(made._existing().buffer.parameters["loss_scale"].value)
    assert ends[0][0] > ends[1][0]  # the scale is that of the first epoch
    assert ends[0][2] == ends[1][2] > 1


@pytest.mark.parametrize("name", ["serial", "ring"])
def test_what_overflows_at_a_scale_of_1_ends_after_a_while(name: str) -> None:
    """Such a fit had gone on for ever without an update and without a word."""
    steep = nn.Linear(1, weight_init=nn.init.constant(6e4))
    model = nn.Sequential(nn.Linear(2, bias=False, weight_init=nn.init.zeros), steep)
    trainer = mixed(model, MixedPrecision(4.0), optim.SGD(0.1), Mean())
    inputs = data.Dataset(np.full((2, 2), -4.0), np.zeros((2, 1)))
    fits = {"batch_size": 2, "strategy": STRATEGIES[name]}
    trainer.fit(inputs, epochs=2 + PATIENCE - 1, **fits)  # the scale falls to 2 and 1 first
    assert loss_scale(trainer) == (1, 1 - PATIENCE)
    with pytest.raises(NonFiniteError, match=f"{PATIENCE} steps in a row with a loss scale of 1"):
        trainer.fit(inputs, epochs=1, **fits)
    assert not trainer.weights()["0.weight"].any()


NORMS: dict[str, Any] = {
    "batch": nn.BatchNorm,
    "synchronised": lambda: nn.BatchNorm(synchronised=True),
    "layer": nn.LayerNorm,
    "group": lambda: nn.GroupNorm(2),
}


@pytest.mark.parametrize("name", NORMS)
def test_statistics_beyond_the_range_of_float16_are_kept_in_float32(name: str) -> None:
    """The variance of inputs of standard deviation 400 is 160000; float16 ends at 65504."""
    numbers = rng.stream(0, "wide")
    x = (400 * numbers.normal(size=(64, 4))).astype(np.float16).astype(np.float32)
    made = data.Dataset(x, numbers.integers(0, 3, 64))
    trained = []
    for precision in (MixedPrecision(), None):
        trainer = mixed(nn.Sequential(NORMS[name](), nn.Linear(3)), precision)
        ring = strategy.RingAllReduce(2, runtime=Virtual())
        trainer.fit(made, epochs=3, batch_size=64, strategy=ring)
        trained.append(trainer.weights())
    for key, value in trained[1].items():
        np.testing.assert_allclose(trained[0][key], value, rtol=0.01, atol=0.01, err_msg=key)
    if name == "synchronised":  # by the formula
        kept = 0.9**3
        np.testing.assert_allclose(
            trained[0]["0.variance"], kept + (1 - kept) * x.var(axis=0, ddof=1), rtol=1e-4
        )
        np.testing.assert_allclose(
            trained[0]["0.mean"], (1 - kept) * x.mean(axis=0), rtol=1e-4, atol=1e-3
        )


SUMMING: dict[str, Any] = {
    "Linear": lambda: nn.Linear(2),
    "Conv2d": lambda: nn.Conv2d(2, 1),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(2, 1),
    "BatchNorm": nn.BatchNorm,
    "LayerNorm": nn.LayerNorm,
    "GroupNorm": lambda: nn.GroupNorm(1),
    "GRU": lambda: nn.GRU(2),
}


@pytest.mark.parametrize("name", SUMMING)
def test_gradients_summed_over_samples_may_leave_the_range_of_float16(name: str) -> None:
    """Of biases, scales and shifts: 4096 times 100 is too much for float16, and counted exactly."""
    shape = {"Linear": (2,), "BatchNorm": (2,), "LayerNorm": (2,), "GRU": (1, 2)}
    layer = SUMMING[name]()
    buffer = layer.initialise(shape.get(name, (1, 1, 2)))
    buffer.bind(buffer.values.astype(np.float16), buffer.grads)  # as a `Replica` does
    x = rng.stream(0, "many").normal(size=(4096, *shape.get(name, (1, 1, 2)))).astype(np.float16)
    y, saved = layer.forward(x, nn.Mode(True, batch_size=4096))
    layer.backward(np.full(y.shape, 100, np.float16), saved)
    sums = {n: p.grad for n, p in buffer.parameters.items() if p.has_gradient and len(p.shape) == 1}
    assert sums and all(np.isfinite(grad).all() for grad in sums.values())
    for own in sums.keys() & {"bias", "beta"}:
        np.testing.assert_allclose(sums[own], 409600, rtol=1e-6)


def test_the_range_of_float16_is_blamed_where_it_is_to_blame() -> None:
    def end(model: nn.Layer, scale: float, rule: optim.Optimizer = MOMENTUM) -> str:
        made = data.Dataset(scale * rng.stream(0, "x").normal(size=(8, 4)), np.arange(8) % 3)
        with pytest.raises(NonFiniteError) as caught:
            mixed(model, optimizer=rule).fit(made, epochs=4, batch_size=8)
        return str(caught.value)

    large = nn.init.normal(300.0)
    for model, scale, where in (
        (nn.Linear(3), 1e6, "in the input of the model"),
        (nn.Linear(3, weight_init=large), 1e3, "in the output of Linear"),
    ):
        said = end(nn.Sequential(model), scale)
        assert where in said and "float16, which holds no number beyond 65504" in said
        assert "learning rate" not in said
    diverged = end(nn.Sequential(nn.Linear(3)), 1.0, optim.SGD(1e30))
    assert "learning rate" in diverged and "float16" not in diverged


@given(every=st.integers(1, 4), steps=st.integers(1, 9), factor=st.sampled_from([2.0, 3.0]))
def test_steps_without_overflow_raise_the_scale(every: int, steps: int, factor: float) -> None:
    trainer = mixed(precision=MixedPrecision(1.0, factor, every), optimizer=optim.SGD(lr=1e-3))
    trainer.fit(samples(5), epochs=steps, batch_size=5)
    times, rest = divmod(steps, every)
    assert loss_scale(trainer) == (factor**times, rest)


@given(
    name=st.sampled_from(["ring", "server", "pipeline"]),
    workers=st.integers(1, 3),
    batch_size=st.integers(4, 9),
    scale=st.sampled_from([2.0**10, 2.0**40]),
    norm=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_strategies_equal_the_serial_run_over_the_same_slices(
    name: str, workers: int, batch_size: int, scale: float, norm: bool
) -> None:
    """Slices are rounded to float16 one by one, and summed in float32."""
    optimizer: optim.Optimizer = optim.SGD(lr=0.05, momentum=0.9)
    optimizer = optim.Clipped(optimizer, norm=0.5) if norm else optimizer
    how = {
        "serial": strategy.Serial(micro_batches=workers),
        "ring": strategy.RingAllReduce(workers, runtime=Virtual()),
        "server": strategy.ParameterServer(workers, runtime=Virtual()),
        "pipeline": strategy.Pipeline(2, micro_batches=workers, runtime=Virtual()),
    }
    found = {}
    for key in ("serial", name):
        each = how[key]
        trainer = mixed(precision=MixedPrecision(scale), optimizer=optimizer)
        trainer.fit(samples(), epochs=3, batch_size=batch_size, strategy=each)
        found[key] = trainer
        expected = mixed(precision=MixedPrecision(scale), optimizer=optimizer).expected_bytes(
            samples(), 3, batch_size, each
        )
        for operation, sent in expected.items():
            assert sum(trainer.history.bytes_sent([operation])) == pytest.approx(sum(sent))
    assert loss_scale(found[name]) == loss_scale(found["serial"])
    for parameter, value in found["serial"].weights().items():
        np.testing.assert_allclose(
            found[name].weights()[parameter], value, rtol=1e-4, atol=1e-5, err_msg=parameter
        )


def test_on_real_processes() -> None:
    real, virtual = mixed(), mixed()
    for trainer, runtime in ((real, Processes(deadline=30)), (virtual, Virtual())):
        trainer.fit(samples(), epochs=2, strategy=strategy.RingAllReduce(2, runtime=runtime), **FIT)
    State.of(real).assert_equals(State.of(virtual))


def test_a_checkpoint_holds_the_scale(tmp_path: Path) -> None:
    whole, part = mixed(precision=MixedPrecision(2.0**40)), mixed(precision=MixedPrecision(2.0**40))
    whole.fit(samples(), epochs=4, **FIT)
    part.fit(samples(), epochs=2, **FIT)
    part.save(tmp_path / "part.safetensors")
    resumed = mixed(precision=MixedPrecision(2.0**40))
    resumed.load(tmp_path / "part.safetensors")
    resumed.fit(samples(), epochs=2, **FIT)
    State.of(whole).assert_equals(State.of(resumed))
    assert loss_scale(whole) == loss_scale(resumed)


def test_it_says_that_it_is_slow_here() -> None:
    with pytest.warns(UserWarning, match="slower here than float32 itself") as caught:
        mixed().fit(samples(), epochs=1, **FIT)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MixedPrecision(0.5), "scale must be from 1"),
        (lambda: MixedPrecision(factor=1), "factor must be above 1, not 1"),
        (lambda: MixedPrecision(every=0), "every must be a whole number of at least 1"),
        (lambda: mixed(precision="half"), "must be MixedPrecision or None, not 'half'"),  # type: ignore[arg-type]
        (
            lambda: Trainer(
                network(), nn.MSE(), optim.SGD(0.1), dtype="float64", precision=MixedPrecision()
            ),
            "keeps weights in float32, not float64",
        ),
        (
            lambda: Trainer(network(), Adversarial(), optim.SGD(0.1), precision=MixedPrecision()),
            "for supervised tasks, not for Adversarial",
        ),
    ],
)
def test_bad_settings_are_one_clear_error(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
    assert replace(MixedPrecision(), scale=2.0).scale == 2
