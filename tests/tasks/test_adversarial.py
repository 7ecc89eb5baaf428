"""The adversarial task: its gradients, its turns, and the same weights under every strategy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import data, models, nn, optim, rng, strategy
from minidl.data import Batch
from minidl.errors import InputError, NonFiniteError, ShapeError
from minidl.nn import Mode
from minidl.runtime import Processes, Virtual
from minidl.runtime.trace import Recorder
from minidl.tasks import Adversarial, Phase
from minidl.train import Trainer

LOSSES = {loss.__name__: loss() for loss in (nn.Minimax, nn.NonSaturating, nn.LeastSquares)}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))


def gan(*, batch_norm: bool = False, dropout: bool = False) -> models.GAN:
    """Small networks for samples of shape (3,)."""
    generator: list[nn.Layer] = [nn.Linear(4), nn.Tanh(), nn.Linear(3)]
    discriminator: list[nn.Layer] = [nn.Linear(5), nn.Tanh(), nn.Linear(1)]
    if batch_norm:
        generator.insert(1, nn.BatchNorm())
        discriminator.insert(1, nn.BatchNorm())
    if dropout:
        discriminator.insert(2, nn.Dropout(0.4))
    return models.GAN(nn.Sequential(*generator), nn.Sequential(*discriminator), latent=2)


def samples(count: int = 13) -> data.Dataset:
    numbers = rng.stream(0, "samples", count)
    return data.Dataset(numbers.normal(1, 0.3, (count, 3)), np.zeros(count))


@each_loss
def test_derivatives_are_those_of_finite_differences(
    loss: nn.AdversarialLoss,
) -> None:
    z = np.linspace(-6, 6, 41).reshape(-1, 1)
    for side in (loss.real, loss.fake, loss.generator):
        step = 1e-6
        numerical = (side(z + step)[0] - side(z - step)[0]) / (2 * step)
        np.testing.assert_allclose(side(z)[1], numerical, rtol=1e-6, atol=1e-8)


@each_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_are_safe_far_out(loss: nn.AdversarialLoss, dtype: Any) -> None:
    z = np.array([[-1e4], [0], [1e4]], dtype)
    for side in (loss.real, loss.fake, loss.generator):
        for found in side(z):
            assert np.isfinite(found).all()
            assert found.dtype == dtype
    belief = loss.belief(z)
    assert ((belief >= 0) & (belief <= 1)).all()


@given(z=st.floats(-20, 20))
def test_losses_are_the_papers_formulas(z: float) -> None:
    at = np.array([[z]])
    d = 1 / (1 + np.exp(-z))
    both = nn.Minimax(), nn.NonSaturating()
    for loss in both:
        assert loss.real(at)[0] == pytest.approx(-np.log(d), rel=1e-6)
        assert loss.fake(at)[0] == pytest.approx(-np.log1p(-d), rel=1e-5)
    assert both[0].generator(at)[0] == pytest.approx(np.log1p(-d), rel=1e-5)
    assert both[1].generator(at)[0] == pytest.approx(-np.log(d), rel=1e-6)
    # Where D is sure that a sample is generated, only the second one still has a gradient.
    assert both[0].generator(at)[1] == pytest.approx(-d)
    assert both[1].generator(at)[1] == pytest.approx(d - 1)


@each_loss
@pytest.mark.parametrize("path", ["discriminator", "generator"])
def test_each_phase_has_the_gradient_of_its_loss(loss: nn.AdversarialLoss, path: str) -> None:
    model, train = gan(batch_norm=True, dropout=True), samples(6)
    buffer = model.initialise((3,), dtype=np.float64)
    task, mode = Adversarial(loss), Mode(True, seed=3, step=2, first=0, batch_size=6)
    batch, phase = Batch(*train.batch(slice(0, 6), np.float64), 0, 6), Phase(path, 0)
    name = "generator loss" if path == "generator" else "discriminator loss"

    def value() -> float:
        figures = task.gradients(phase, model, batch, mode, Recorder()).means()
        return figures[name]

    buffer.grads[...] = 0
    value()
    learnt = buffer.spans(path)[0]
    found = buffer.grads[learnt].copy()
    step = 1e-6
    for place, gradient in zip(range(learnt.start, learnt.stop), found, strict=True):
        was = buffer.values[place]
        buffer.values[place] = was + step
        up = value()
        buffer.values[place] = was - step
        down = value()
        buffer.values[place] = was
        assert gradient == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-8)


def trained(how: strategy.Strategy, make: Callable[[], models.GAN], **settings: Any) -> Trainer:
    task = Adversarial(settings.pop("loss", nn.NonSaturating()), settings.pop("steps", 1))
    trainer = Trainer(
        make(),
        task,
        settings.pop("optimizer", optim.Adam(lr=0.01, betas=(0.5, 0.999))),
        dtype="float64",
    )
    trainer.fit(samples(), epochs=3, batch_size=settings.pop("batch_size", 5), strategy=how)
    return trainer


@given(
    workers=st.integers(1, 4),
    batch_size=st.integers(4, 9),
    steps=st.integers(1, 4),
    loss=st.sampled_from(list(LOSSES.values())),
    optimizer=st.sampled_from(
        [
            optim.Adam(lr=0.01, betas=(0.5, 0.999)),
            optim.SGD(lr=0.05, momentum=0.5),
            optim.Clipped(optim.SGD(lr=0.1), norm=0.2),
            optim.Groups(optim.Adam(lr=0.01), ((("generator.*",), optim.SGD(lr=0.1)),)),
        ]
    ),
    dropout=st.booleans(),
    buffering=st.sampled_from(["none", "unlimited"]),
)
def test_data_parallel_strategies_equal_the_serial_run(
    workers: int,
    batch_size: int,
    steps: int,
    loss: Any,
    optimizer: Any,
    dropout: bool,
    buffering: Any,
) -> None:
    settings = {"batch_size": batch_size, "steps": steps, "loss": loss, "optimizer": optimizer}

    def make() -> models.GAN:
        return gan(dropout=dropout)

    serial = trained(strategy.Serial(), make, **settings)
    for how in (
        strategy.Serial(micro_batches=3),
        strategy.RingAllReduce(workers, runtime=Virtual(buffering)),
        strategy.ParameterServer(workers, runtime=Virtual(buffering)),
    ):
        other = trained(how, make, **settings)
        for name, value in serial.weights().items():
            np.testing.assert_allclose(other.weights()[name], value, rtol=1e-8, atol=1e-10)
        for name in ("discriminator loss", "generator loss", "D(x)", "D(G(z))"):
            np.testing.assert_allclose(
                other.history.series(name), serial.history.series(name), rtol=1e-7
            )


@given(parts=st.integers(1, 3), steps=st.integers(1, 3))
def test_batch_statistics_follow_the_groups_that_are_seen(parts: int, steps: int) -> None:
    """And each network's running means move in its own phase only.

    By plain descent: Adam would turn the rounding of gradients that are 0 into steps.
    """

    def make() -> models.GAN:
        return gan(batch_norm=True)

    settings: dict[str, Any] = {"steps": steps, "optimizer": optim.SGD(lr=0.05)}
    grouped = trained(strategy.Serial(micro_batches=parts), make, **settings)
    for how in (
        strategy.RingAllReduce(parts, runtime=Virtual()),
        strategy.ParameterServer(parts, runtime=Virtual()),
    ):
        other = trained(how, make, **settings)
        for name, value in grouped.weights().items():
            np.testing.assert_allclose(other.weights()[name], value, rtol=1e-8, atol=1e-10)


def test_running_means_follow_what_their_network_saw() -> None:
    """By step k = 1 the generator's means have moved once, towards the mean of what it saw."""
    model = gan(batch_norm=True)
    trainer = Trainer(model, Adversarial(), optim.SGD(lr=1e-12), dtype="float64")
    trainer.fit(samples(6), epochs=1, batch_size=6)
    for path, name, size in (("generator", "generator", 6), ("discriminator", "discriminator", 12)):
        network = getattr(model, path)
        linear, norm = network.layers[0], network.layers[1]
        noise = model.noise((0, "noise", name, 0), 0, 6, np.zeros(0))
        if path == "generator":
            x = noise
        else:
            fakes = model.generator.forward(noise, Mode(True, batch_size=6))[0]
            x = np.concatenate([samples(6).inputs, fakes])
        seen = linear.forward(x, nn.EVALUATE)[0]
        if path == "discriminator":  # data and generated samples are normalised apart
            np.testing.assert_allclose(norm.mean.value, 0.1 * seen.mean(axis=0), rtol=1e-6)
        else:
            np.testing.assert_allclose(norm.mean.value, 0.1 * seen.mean(axis=0), rtol=1e-6)
        assert len(x) == size


@given(steps=st.integers(1, 4), epochs=st.integers(1, 3))
def test_the_generator_moves_every_kth_step(steps: int, epochs: int) -> None:
    """And is counted by itself: an optimizer's step is the phase's update."""
    task = Adversarial(discriminator_steps=steps)
    phases = [phase for step in range(20) for phase in task.phases(step)]
    for path, often in (("discriminator", 20), ("generator", 20 // steps)):
        assert [p.update for p in phases if p.path == path] == list(range(often))
    model = gan()
    trainer = Trainer(model, task, optim.SGD(lr=0.1))
    trainer.fit(samples(), epochs=epochs, batch_size=5)  # 3 steps an epoch
    moved = 3 * epochs >= steps
    fresh = gan().initialise((3,))
    for name, value in trainer.weights().items():
        same = np.array_equal(fresh.parameters[name].value, value)
        if name.startswith("discriminator") and not name.endswith("bias"):
            assert not same
        elif name.startswith("generator"):
            assert same != moved
    generator = trainer.history.series("generator loss") if moved else []
    assert sum(not np.isnan(loss) for loss in generator) == (3 * epochs // steps if moved else 0)


@pytest.mark.parametrize("make", [strategy.RingAllReduce, strategy.ParameterServer])
def test_bytes_are_those_of_the_phases(make: Any) -> None:
    how = make(3, runtime=Virtual())
    trainer = trained(how, lambda: gan(batch_norm=True), steps=2)
    fresh = Trainer(
        gan(batch_norm=True), Adversarial(discriminator_steps=2), optim.SGD(0.1), dtype="float64"
    )
    expected = fresh.expected_bytes(samples(), 3, 5, how)
    for operation, each in expected.items():
        assert trainer.history.bytes_sent([operation]) == pytest.approx(each, abs=8 * 3 * 2 * 9)
        assert sum(trainer.history.bytes_sent([operation])) == pytest.approx(sum(each))


@pytest.mark.parametrize("make", [strategy.RingAllReduce, strategy.ParameterServer])
def test_on_real_processes(make: Any) -> None:
    real = trained(make(2, runtime=Processes(deadline=30)), lambda: gan(dropout=True), steps=2)
    virtual = trained(make(2, runtime=Virtual()), lambda: gan(dropout=True), steps=2)
    for name, value in virtual.weights().items():
        np.testing.assert_array_equal(real.weights()[name], value)


def test_it_learns_a_line() -> None:
    """Samples of the generator come to lie where the data lie."""
    train = data.Dataset(rng.stream(1, "line").normal(0.4, 0.1, (512, 1)), np.zeros(512))
    model = models.mlp_gan((1,), latent=4, hidden=32)
    trainer = Trainer(model, Adversarial(), optim.Adam(lr=2e-3, betas=(0.5, 0.999)))
    trainer.fit(train, epochs=1, batch_size=64)
    before_mean = abs(model.sample(500).mean() - 0.4)
    trainer.fit(train, epochs=60, batch_size=64)
    made = model.sample(500)
    assert abs(made.mean() - 0.4) < 0.1 < before_mean
    assert 0.04 < made.std() < 0.25


def test_a_gan_is_evaluated_and_saved(tmp_path: Any) -> None:
    trainer = trained(strategy.Serial(), gan)
    figures = trainer.evaluate(samples())
    assert set(figures) == {"discriminator loss", "generator loss", "D(x)", "D(G(z))"}
    assert trainer.predict(samples().inputs).shape == (13, 1)
    trainer.save(tmp_path / "gan.safetensors")
    trainer.history.plot(tmp_path / "gan.png")
    other = Trainer(gan(), Adversarial(), optim.Adam(lr=0.01, betas=(0.5, 0.999)), dtype="float64")
    other.load(tmp_path / "gan.safetensors")
    assert other.evaluate(samples()) == figures
    np.testing.assert_array_equal(other.model.sample(3), trainer.model.sample(3))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        (lambda: Adversarial(discriminator_steps=0), InputError, "a whole number of at least 1"),
        (lambda: Adversarial(nn.MSE()), InputError, "must be an AdversarialLoss"),
        (
            lambda: Trainer(nn.Sequential(nn.Linear(1)), Adversarial(), optim.SGD(0.1)).fit(
                samples(), epochs=1, batch_size=4
            ),
            InputError,
            "the adversarial task trains a GAN, not Sequential",
        ),
        (
            lambda: trained(strategy.Pipeline(2, runtime=Virtual()), gan),
            InputError,
            "a pipeline trains outputs towards targets, and cannot do Adversarial",
        ),
        (lambda: gan().build((4,)), ShapeError, "makes samples of shape (3,), and the data's are"),
        (
            lambda: models.GAN(nn.Linear(3), nn.Linear(2), 2).build((3,)),
            ShapeError,
            "a discriminator gives one number for each sample",
        ),
        (lambda: copy.copy(gan()).sample(0), InputError, "at least 1 sample"),
        (
            lambda: trained(
                strategy.Serial(), gan, loss=nn.LeastSquares(), optimizer=optim.SGD(lr=1e200)
            ),
            NonFiniteError,
            "not finite",
        ),
    ],
)
def test_bad_input_is_one_clear_error(act: Any, kind: type[Exception], message: str) -> None:
    import re

    with pytest.raises(kind, match=re.escape(message)), np.errstate(all="ignore"):
        act()


@pytest.mark.parametrize("make", [models.dcgan, models.mlp_gan])
def test_the_models_fit_images_of_28_by_28(make: Any) -> None:
    model = make(latent=8)
    model.initialise((28, 28, 1))
    images = model.sample(3)
    assert images.shape == (3, 28, 28, 1)
    assert (np.abs(images) <= 1).all()
    assert model.forward(images, nn.EVALUATE)[0].shape == (3, 1)
