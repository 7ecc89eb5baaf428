"""Augmented training equals the serial run under every strategy; evaluation sees none of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Case, assert_same_weights, image_cases

from minidl import nn, optim, rng, strategy
from minidl.data import Dataset, augment
from minidl.runtime import Virtual

AUGMENTATIONS = st.lists(
    st.sampled_from(
        [
            augment.Shift(2),
            augment.Crop(1, "reflect"),
            augment.Flip(),
            augment.Rotate(15),
            augment.Noise(0.2),
            augment.Cutout(2),
        ]
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=15)
@given(case=image_cases(), chosen=AUGMENTATIONS, ranks=st.integers(1, 4), kind=st.integers(0, 3))
def test_augmented_training_equals_serial(
    case: Case, chosen: list[augment.Augmentation], ranks: int, kind: int
) -> None:
    case = replace(case, dataset=case.dataset.augmented(*chosen))
    other = (
        strategy.Serial(micro_batches=ranks),
        strategy.RingAllReduce(ranks, runtime=Virtual()),
        strategy.ParameterServer(ranks, runtime=Virtual()),
        strategy.Pipeline(min(ranks, len(case.layers)), micro_batches=3, runtime=Virtual()),
    )[kind]
    assert_same_weights(case.trained(strategy.Serial()), case.trained(other))


@settings(max_examples=10)
@given(case=image_cases())
def test_augmentation_changes_training_and_nothing_else(case: Case) -> None:
    noisy = replace(case, dataset=case.dataset.augmented(augment.Noise(1.0)))
    plain, augmented = case.trained(strategy.Serial()), noisy.trained(strategy.Serial())
    assert plain.history.losses != augmented.history.losses
    assert augmented.evaluate(noisy.dataset) == augmented.evaluate(case.dataset)
    np.testing.assert_array_equal(
        augmented.predict(noisy.dataset), augmented.predict(case.dataset.inputs)
    )


def test_workers_augment_as_the_serial_run_does() -> None:
    """In processes of their own, which are sent the data set without its arrays."""
    images = rng.stream(0).normal(size=(9, 4, 4, 1))
    dataset = Dataset(images, np.arange(9) % 2).augmented(augment.Noise(0.5), augment.Shift(1))
    layers = nn.Conv2d(2, 3), nn.Flatten(), nn.Linear(2)
    case = Case(layers, dataset, nn.CrossEntropy(), optim.SGD(lr=0.01), batch_size=4, seed=3)
    ring = case.trained(strategy.RingAllReduce(workers=2))
    assert_same_weights(case.trained(strategy.Serial()), ring)
