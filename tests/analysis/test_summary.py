"""Counts: published ones, those of the lecture, and what really is there."""

from __future__ import annotations

import json
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, models, nn
from minidl.analysis import Field, multiply_adds, sight, summary
from minidl.errors import InputError, ShapeError

PUBLISHED = {
    # parameters and billions of multiply-adds for 224×224×3:
    # https://pytorch.org/vision/stable/models.html
    "alexnet": (61_100_840, 0.71),
    "vgg11": (132_863_336, 7.61),
    "vgg13": (133_047_848, 11.31),
    "vgg16": (138_357_544, 15.47),
    "vgg19": (143_667_240, 19.63),
    "googlenet": (6_624_904, 1.50),
    "resnet18": (11_689_512, 1.81),
    "resnet34": (21_797_672, 3.66),
    "resnet50": (25_557_032, 4.09),
    "resnet101": (44_549_160, 7.80),
    "resnet152": (60_192_808, 11.51),
}


def convolutions(*sizes_and_filters):
    """Ways of a module: each (kernel size, filters), with the image's size kept."""
    return [nn.Conv2d(o, k, padding=k // 2, bias=False) for k, o in sizes_and_filters]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name):
    network = models.make(name)
    counted = summary(network, (224, 224, 3))
    parameters, billions = PUBLISHED[name]
    assert counted.parameters == parameters
    assert counted.multiply_adds / 1e9 == pytest.approx(billions, abs=0.011)
    assert counted.output_shape == (1000,)
    assert not network.parameters()


def test_the_lectures_inception_module():
    """On 28×28×256. The slide's 358M for the bottleneck counts its 3×3 twice."""
    pool = nn.MaxPool2d(3, stride=1, padding=1)
    naive = nn.Concat(*convolutions((1, 128), (3, 192), (5, 96)), pool)
    narrow = nn.Concat(
        *convolutions((1, 128)),
        nn.Sequential(*convolutions((1, 64), (3, 192))),
        nn.Sequential(*convolutions((1, 64), (5, 96))),
        nn.Sequential(pool, *convolutions((1, 64))),
    )
    of_naive, of_narrow = (summary(module, (28, 28, 256)) for module in (naive, narrow))
    assert of_naive.multiply_adds == 28 * 28 * 256 * (128 + 9 * 192 + 25 * 96)
    assert (of_naive.multiply_adds // 10**6, of_naive.output_shape[-1]) == (854, 672)
    assert (of_narrow.multiply_adds // 10**6, of_narrow.output_shape[-1]) == (271, 480)
    twice = of_narrow.multiply_adds + 28 * 28 * 192 * 9 * 64
    assert twice // 10**6 == 358


@given(c=st.integers(1, 9), h=st.integers(1, 9), w=st.integers(1, 9))
def test_three_small_filters_cost_less_than_the_large_one_that_sees_as_much(c, h, w):
    small = summary(nn.Sequential(*convolutions(*[(3, c)] * 3)), (h, w, c))
    large = summary(nn.Sequential(*convolutions((7, c))), (h, w, c))
    assert (small.parameters, large.parameters) == (27 * c**2, 49 * c**2)
    assert small.multiply_adds == 27 * h * w * c**2
    assert large.multiply_adds == 49 * h * w * c**2
    assert small.rows[-1].fields == large.rows[-1].fields


@given(c=st.integers(1, 5), n=st.sampled_from([1, 3, 5, 7]))
def test_a_row_and_a_column_cost_2n_rather_than_n_squared(c, n):
    pair = nn.Sequential(
        nn.Conv2d(c, (1, n), padding=(0, n // 2), bias=False),
        nn.Conv2d(c, (n, 1), padding=(n // 2, 0), bias=False),
    )
    square = nn.Sequential(*convolutions((n, c)))
    of_pair, of_square = summary(pair, (9, 9, c)), summary(square, (9, 9, c))
    assert (of_pair.parameters, of_square.parameters) == (2 * n * c**2, n**2 * c**2)
    assert of_pair.rows[-1].fields == of_square.rows[-1].fields


class Watching(nn.Layer):
    """A layer inside another, which notes the output."""

    def __init__(self, inside, seen):
        self.inside, self.seen = inside, seen

    def build(self, shape):
        return self.inside.build(shape)

    def forward(self, x, mode):
        y, saved = self.inside.forward(x, mode)
        self.seen.append(y)
        return y, saved


@given(
    side=st.integers(4, 9),
    widths=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    batch=st.integers(1, 3),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_rows_are_what_a_forward_pass_makes(side, widths, batch, dtype):
    def parts():
        window = [(nn.Conv2d(w, 3, 2, 1), nn.BatchNorm(), nn.MaxPool2d(2, 1, 1)) for w in widths]
        return [*chain(*window), nn.GlobalAvgPool2d(), nn.Linear(4)]

    counted = summary(nn.Sequential(*parts()), (side, side, 2), batch, dtype)
    seen: list[np.ndarray] = []
    network = nn.Sequential(*(Watching(part, seen) for part in parts()))
    buffer = network.initialise((side, side, 2), dtype=dtype)
    with kernels.using("reference"):
        network.forward(np.zeros((batch, side, side, 2), dtype), nn.EVALUATE)
    assert [row.shape for row in counted.rows] == [y.shape[1:] for y in seen]
    assert [row.activation_bytes for row in counted.rows] == [y.nbytes for y in seen]
    assert counted.parameters == buffer.trainable
    single = summary(nn.Sequential(*parts()), (side, side, 2))
    assert counted.multiply_adds == batch * single.multiply_adds


def test_sequences_cost_their_weights_at_every_step():
    """An LSTM of m inputs and n units: 4(mn + n²) products a step, and 4n biases to learn."""
    steps, words, m, n = 7, 11, 5, 3
    network = nn.Sequential(nn.Embedding(words, m), nn.LSTM(n), nn.LayerNorm(), nn.TakeLast())
    counted = summary(network, (steps,))
    assert counted.multiply_adds == steps * 4 * (m * n + n * n)
    assert counted.parameters == words * m + 4 * (m * n + n * n + n) + 2 * n
    assert counted.rows[-1].shape == (n,)


@given(latent=st.integers(1, 70), width=st.integers(1, 40))
def test_a_gan_is_its_generator_and_then_its_discriminator(latent, width):
    """On 28×28: the transposed convolutions cost what the convolutions they mirror cost."""
    network = models.dcgan(latent, width)
    counted = summary(network, (28, 28, 1), batch=3)
    half = len(network.generator)
    made, judged = counted.rows[:half], counted.rows[half:]
    assert all(row.name.startswith("generator.") for row in made)
    assert all(row.name.startswith("discriminator.") for row in judged)
    assert made[-1].shape == (28, 28, 1) and counted.output_shape == (1,)
    inner, outer = 7 * 7 * 16 * width * 2 * width, 14 * 14 * 16 * width
    from_noise, verdict = latent * 7 * 7 * 2 * width, 7 * 7 * 2 * width
    assert sum(row.multiply_adds for row in made) == 3 * (from_noise + inner + outer)
    assert sum(row.multiply_adds for row in judged) == 3 * (outer + inner + verdict)
    assert not network.parameters()
    network.initialise((28, 28, 1))
    learnt = [p.size for p in network.parameters().values() if p.trainable]
    assert counted.parameters == sum(learnt)


def test_what_is_shared_or_built_counts_once_and_stays():
    shared = nn.Linear(3)
    network = nn.Sequential(shared, nn.Residual(shared), nn.Concat(shared, nn.ReLU()))
    network.initialise((3,), seed=1)
    values = shared.weight.value.copy()
    counted = summary(network, (3,))
    assert counted.parameters == 12
    assert counted.multiply_adds == 27
    assert [row.name for row in counted.rows] == ["0", "1.body", "1", "2.0", "2.1", "2"]
    np.testing.assert_array_equal(shared.weight.value, values)
    with pytest.raises(ShapeError, match="was built with weight"):
        summary(network, (4,))


def test_a_batch_of_nothing_or_a_layer_that_does_not_fit_leaves_no_trace():
    network = nn.Sequential(nn.Conv2d(3, 3), nn.Conv2d(3, 9))
    with pytest.raises(ShapeError, match="window of 9×9"):
        summary(network, (5, 5, 1))
    assert not network.parameters()
    with pytest.raises(InputError, match="batch must be a whole number of at least 1, not 0"):
        summary(network, (20, 20, 1), batch=0)
    with pytest.raises(InputError, match="at least 1, not -5"):
        summary(network, (-5, 20, 1))


def test_layers_without_a_rule_are_refused_until_they_have_one():
    class Scale(nn.Layer):
        def build(self, shape):
            self.parameter("scale", shape[-1:], nn.init.ones)
            return shape

    class Crop(nn.Layer):
        def build(self, shape):
            return shape[0] - 2, shape[1] - 2, shape[2]

    class Twice(nn.Layer):
        def __init__(self):
            self.part = nn.ReLU()

    for kind, message in (
        (Scale, "analysis.multiply_adds.register(Scale)"),
        (Crop, "analysis.sight.register(Crop)"),
        (Twice, "in which order Twice runs its parts"),
    ):
        with pytest.raises(InputError) as refused:
            summary(nn.Sequential(kind()), (5, 5, 1))
        assert message in str(refused.value)
    multiply_adds.register(Scale)(lambda layer, given, made: 7)
    sight.register(Crop)(lambda layer, seen, given, made: None)
    counted = summary(nn.Sequential(Scale(), Crop()), (5, 5, 1))
    assert (counted.multiply_adds, counted.output_shape) == (7, (3, 3, 1))


def test_json_has_rows_and_totals():
    counted = summary(models.lenet5(), (28, 28, 1), batch=2)
    told = json.loads(counted.to_json())
    assert told["parameters"] == sum(row["parameters"] for row in told["rows"]) == 61_706
    assert told["multiply_adds"] == 2 * 416_520
    assert told["activation_bytes"] == counted.activation_bytes
    assert told["rows"][3]["fields"][0] == {"size": 6, "jump": 2, "centre": 0.5}


def test_a_decoder_costs_its_own_steps_and_an_encoder_its_own():
    """Words looked up cost nothing; each step of the decoder has an output over all words."""
    read, written, e, h, words = 7, 4, 5, 3, 6
    network = models.Seq2Seq(read, 9, words, e, h, cell="lstm")
    counted = summary(nn.Sequential(network), (read + written,))
    recurrent = 4 * (e * h + h * h)
    assert counted.multiply_adds == (read + written) * recurrent + written * h * words
    assert [(row.name, row.shape) for row in counted.rows] == [
        ("0.source_embedding", (read, e)),
        ("0.encoder", (read, h)),
        ("0.target_embedding", (written, e)),
        ("0.decoder", (written, h)),
        ("0.output", (written, words)),
    ]
    assert not network.parameters()
    assert counted.parameters == len(network.initialise((read + written,)))


def test_norms_and_slopes_cost_nothing_and_padding_and_pooling_change_the_image():
    network = nn.Sequential(
        nn.Pad2d(((1, 0), (2, 2))), nn.MaxPool2d(2, ceil_mode=True), nn.RMSNorm(), nn.PReLU(),
        nn.PReLU(per_channel=True), nn.GlobalMaxPool2d(),
    )  # fmt: skip
    found = summary(network, (6, 5, 3))
    assert [row.shape for row in found.rows] == [(7, 9, 3), *[(4, 5, 3)] * 4, (3,)]
    assert [row.parameters for row in found.rows] == [0, 0, 3, 1, 3, 0]
    assert found.multiply_adds == 0
    assert found.rows[1].fields == (Field(2, 2, -0.5), Field(2, 2, -1.5))
    assert found.rows[-1].fields is None
