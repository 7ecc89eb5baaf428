"""Each augmentation keeps its law, and what is done to a sample depends on the sample alone."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import rng
from minidl.data import Dataset, Loader, augment
from minidl.data.augment import Augmentation, Crop, Cutout, Flip, Noise, Rotate, Shift
from minidl.errors import InputError, ShapeError

SIDES, SEEDS = st.integers(1, 9), st.integers(0, 99)
PIXELS = st.integers(0, 3)


@st.composite
def augmentations(draw: st.DrawFn, side: int) -> Augmentation:
    """Any one that images of this height and width allow."""
    few = st.integers(0, side - 1)
    return draw(
        st.one_of(
            st.builds(Shift, few),
            st.builds(Crop, few, st.sampled_from(["zeros", "edge", "reflect"])),
            st.builds(Cutout, st.integers(0, side)),
            st.builds(Rotate, st.floats(0, 180)),
            st.builds(Noise, st.floats(0, 2)),
            st.just(Flip()),
        )
    )


@st.composite
def images(draw: st.DrawFn, count: int | None = None, dtype: str | None = None) -> np.ndarray:
    """Images without a zero, so that what enters is told from what was there."""
    shape = (draw(st.integers(0, 5)) if count is None else count, draw(SIDES), draw(SIDES))
    numbers = rng.stream(draw(SEEDS), "images").uniform(0.5, 1.5, (*shape, draw(st.integers(1, 3))))
    return numbers.astype(dtype or draw(st.sampled_from(["float32", "float64"])))


def uniform(draw: st.DrawFn, count: int, draws: int) -> np.ndarray:
    """Numbers in [0, 1), the ends among them."""
    each = st.floats(0, 1, exclude_max=True) | st.sampled_from([0.0, 0.5, 1 - 2.0**-32])
    row = st.lists(each, min_size=draws, max_size=draws)
    return np.array(draw(st.lists(row, min_size=count, max_size=count))).reshape(count, draws)


@given(draw=st.data(), samples=st.integers(1, 20), epoch=st.integers(0, 2), seed=SEEDS)
def test_a_sample_is_changed_alike_in_any_shard_and_any_batch(
    draw: st.DataObject, samples: int, epoch: int, seed: int
) -> None:
    side, dtype = draw.draw(st.integers(1, 6)), draw.draw(st.sampled_from(["f4", "f8"]))
    chosen = draw.draw(st.lists(augmentations(side), max_size=3))
    stored = rng.stream(seed).normal(size=(samples, side, side, 2))
    dataset = Dataset(stored, np.arange(samples)).augmented(*chosen)

    def whole_epoch(batch_size: int, size: int) -> np.ndarray:
        loader = Loader(dataset, batch_size, seed, dtype)
        return np.concatenate(
            [
                loader.shard(epoch, step, rank, size).x
                for step in range(loader.steps)
                for rank in range(size)
            ]
        )

    whole = whole_epoch(samples, 1)
    assert whole.dtype == dtype and whole.shape == stored.shape
    parts = whole_epoch(draw.draw(st.integers(1, 22)), draw.draw(st.integers(1, 4)))
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(dataset.inputs, stored)


@pytest.mark.parametrize(
    "each", [Shift(3), Crop(3), Crop(2, "reflect"), Flip(), Rotate(20), Noise(0.1), Cutout(3)]
)
def test_epochs_seeds_and_positions_differ_and_runs_do_not(each: Augmentation) -> None:
    x = rng.stream("x").normal(size=(30, 8, 8, 1))

    def changed(seed: int = 0, epoch: int = 0, first: int = 0) -> np.ndarray:
        return augment.augment(x, [each], seed, epoch, first)

    np.testing.assert_array_equal(changed(), changed())
    others = [changed(seed=1), changed(epoch=1), changed(first=30), x]
    assert all(not np.array_equal(changed(), other) for other in others)
    noisy = [Noise(1.0), Noise(1.0)]  # twice the same noise would have twice its deviation
    assert (augment.augment(x, noisy, 0, 0, 0) - x).std() == pytest.approx(np.sqrt(2), rel=0.1)


@given(x=images(), draw=st.data(), epoch=st.integers(0, 9))
def test_the_images_given_stay_as_they_are(x: np.ndarray, draw: st.DataObject, epoch: int) -> None:
    chosen = draw.draw(augmentations(min(x.shape[1:3])))
    chosen.check(x.shape[1:])
    before = x.copy()
    made = augment.augment(x, [chosen], 0, epoch, 0)
    assert (made.shape, made.dtype) == (x.shape, x.dtype)
    np.testing.assert_array_equal(x, before)


def test_batches_for_evaluation_are_not_augmented() -> None:
    plain = Dataset(np.ones((4, 5, 5, 1)), np.arange(4))
    dataset = plain.augmented(Noise(1.0))
    for each in (dataset, dataset.take(slice(0, 4)), copy.copy(dataset)):
        np.testing.assert_array_equal(each.batch(slice(0, 4))[0], 1)
        assert not np.array_equal(Loader(each, 4).shard(0, 0).x, np.ones((4, 5, 5, 1)))
    np.testing.assert_array_equal(Loader(plain, 4).shard(0, 0).x, 1)
    rest, chosen = dataset.split(2)
    assert rest.augmentations == chosen.augmentations == (Noise(1.0),)
    assert dataset.augmented(Flip()).augmentations == (Noise(1.0), Flip())


def shifted(image: np.ndarray, down: int, across: int) -> np.ndarray:
    """Moved pixel by pixel."""
    made = np.zeros_like(image)
    height, width = image.shape[:2]
    for i in range(height):
        for j in range(width):
            if 0 <= i + down < height and 0 <= j + across < width:
                made[i + down, j + across] = image[i, j]
    return made


@given(x=images(), pixels=st.integers(0, 8), draw=st.data())
def test_a_shift_moves_every_pixel_alike_and_zeros_enter(
    x: np.ndarray, pixels: int, draw: st.DataObject
) -> None:
    numbers = uniform(draw.draw, len(x), 2)
    ways = pixels - np.floor(numbers * (2 * pixels + 1)).astype(int)
    made = Shift(pixels).apply(x, numbers)
    for image, (down, across), moved in zip(x, ways, made, strict=True):
        assert max(abs(down), abs(across)) <= pixels
        np.testing.assert_array_equal(moved, shifted(image, down, across))
    np.testing.assert_array_equal(Crop(pixels).apply(x, numbers), made)


def test_all_ways_of_a_shift_are_equally_likely() -> None:
    x = np.zeros((5000, 5, 5, 1))
    x[:, 2, 2] = 1
    where = augment.augment(x, [Shift(2)], 0, 0, 0).sum(axis=(0, 3))
    assert abs(where - 200).max() < 5 * np.sqrt(200)


@pytest.mark.parametrize("border", ["edge", "reflect"])
@given(x=images(), padding=st.integers(0, 8), draw=st.data())
def test_a_crop_lies_in_the_padded_image(
    border: augment.Border, x: np.ndarray, padding: int, draw: st.DataObject
) -> None:
    padding = min(padding, *(side - 1 for side in x.shape[1:3]))
    numbers = uniform(draw.draw, len(x), 2)
    made = Crop(padding, border).apply(x, numbers)
    for image, number, cropped in zip(x, numbers, made, strict=True):
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), border)
        top, left = np.floor(number * (2 * padding + 1)).astype(int)
        height, width = image.shape[:2]
        np.testing.assert_array_equal(cropped, padded[top : top + height, left : left + width])


@given(x=images(), draw=st.data())
def test_flipped_twice_is_as_before(x: np.ndarray, draw: st.DataObject) -> None:
    numbers = uniform(draw.draw, len(x), 1)
    once = Flip().apply(x, numbers)
    np.testing.assert_array_equal(Flip().apply(once, numbers), x)
    flipped = numbers[:, 0] < 0.5
    np.testing.assert_array_equal(once[flipped], x[flipped, :, ::-1])
    np.testing.assert_array_equal(once[~flipped], x[~flipped])


def test_half_of_the_images_are_flipped() -> None:
    x = np.tile(np.array([0.0, 1.0]).reshape(1, 1, 2, 1), (4000, 1, 1, 1))
    assert abs(augment.augment(x, [Flip()], 0, 0, 0)[:, 0, 0, 0].mean() - 0.5) < 0.04


@given(x=images(), degrees=st.floats(0, 180))
def test_a_rotation_by_nothing_changes_nothing(x: np.ndarray, degrees: float) -> None:
    np.testing.assert_array_equal(Rotate(degrees).apply(x, np.full((len(x), 1), 0.5)), x)
    np.testing.assert_array_equal(Rotate(0).apply(x, np.zeros((len(x), 1))), x)


@given(side=st.integers(1, 9), seed=SEEDS)
def test_rotations_by_right_angles_are_exact(side: int, seed: int) -> None:
    x = rng.stream(seed).normal(size=(2, side, side, 2))
    to_and_fro = np.array([[0.0], [1.0]])  # by -90 and by 90 degrees, to the left
    made = Rotate(90).apply(x, to_and_fro)
    np.testing.assert_allclose(made[0], np.rot90(x[0], -1), atol=1e-12)
    np.testing.assert_allclose(made[1], np.rot90(x[1], 1), atol=1e-12)
    upside_down = Rotate(180).apply(x, to_and_fro)
    np.testing.assert_allclose(upside_down, x[:, ::-1, ::-1], atol=1e-12)


@given(height=st.integers(15, 20), width=st.integers(15, 20), number=st.floats(0, 1), seed=SEEDS)
def test_a_rotation_back_is_nearly_the_image_again(
    height: int, width: int, number: float, seed: int
) -> None:
    """Of an image that is straight, exactly: interpolation of a plane is exact."""
    slope = rng.stream(seed).normal(size=3)
    down, across = np.mgrid[:height, :width]
    plane = (slope[0] + slope[1] * down + slope[2] * across)[None, :, :, None]
    smooth = np.sin(plane / abs(slope).max() / 3)
    inside = np.hypot(down - (height - 1) / 2, across - (width - 1) / 2) < 5
    for x, tolerance in ((plane, 1e-9), (smooth, 0.06)):
        turned = Rotate(30).apply(x, np.array([[number]]))
        back = Rotate(30).apply(turned, np.array([[1 - number]]))
        np.testing.assert_allclose(back[0, inside], x[0, inside], atol=tolerance)


@given(x=images(dtype="float64"), degrees=st.floats(0, 180))
def test_a_rotation_interpolates_between_the_four_nearest_pixels_and_zeros_around(
    x: np.ndarray, degrees: float
) -> None:
    """A pixel counts by its distances down and across from where the new one was."""
    made = Rotate(degrees).apply(x, np.ones((len(x), 1)))
    height, width = x.shape[1:3]
    middle = np.array([height - 1, width - 1]) / 2
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    back = np.array([[cos, sin], [-sin, cos]])
    for i in range(height):
        for j in range(width):
            row, column = back @ ([i, j] - middle) + middle
            down = np.maximum(0, 1 - abs(np.arange(height) - row))
            across = np.maximum(0, 1 - abs(np.arange(width) - column))
            expected = np.einsum("nhwc,h,w->nc", x, down, across)
            np.testing.assert_allclose(made[:, i, j], expected, atol=1e-12)


@given(std=st.just(0.0) | st.floats(1e-3, 3), seed=SEEDS)
def test_noise_has_its_deviation_and_no_bias(std: float, seed: int) -> None:
    x = np.full((10, 20, 10, 2), 5.0)
    noise = augment.augment(x, [Noise(std)], seed, 0, 0) - x
    assert abs(noise.mean()) <= 6 * std / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(std, rel=0.05)
    assert std == 0 or len(np.unique(noise)) > 0.99 * noise.size


@given(x=images(), size=st.integers(0, 9), draw=st.data())
def test_cutout_zeroes_a_square_around_a_pixel_and_nothing_else(
    x: np.ndarray, size: int, draw: st.DataObject
) -> None:
    size = min(size, *x.shape[1:3])
    numbers = uniform(draw.draw, len(x), 2)
    made = Cutout(size).apply(x, numbers)
    for image, number, cut in zip(x, numbers, made, strict=True):
        row, column = np.floor(number * image.shape[:2]).astype(int) - size // 2
        expected = image.copy()
        expected[max(row, 0) : max(row + size, 0), max(column, 0) : max(column + size, 0)] = 0
        np.testing.assert_array_equal(cut, expected)
        if size:
            assert not cut[row + size // 2, column + size // 2].any()


@dataclass(frozen=True)
class Brightness(Augmentation):
    """One of a user's own, as the documentation of `Augmentation` shows it."""

    most: float

    def draws(self, shape: tuple[int, ...]) -> int:
        return 1

    def apply(self, x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return x + self.most * (2 * numbers[:, :, None, None] - 1)


def test_an_augmentation_of_ones_own() -> None:
    dataset = Dataset(np.ones((50, 3, 2, 1)), np.arange(50)).augmented(Brightness(0.5))
    x = Loader(dataset, 50).shard(0, 0).x
    assert x.dtype == np.float32
    assert (x == x[:, :1, :1]).all() and x.min() >= 0.5 and x.max() <= 1.5 and x.std() > 0.2


def test_an_augmentation_must_keep_the_shape_and_say_what_it_does() -> None:
    @dataclass(frozen=True)
    class Cut(Brightness):
        def apply(self, x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
            return x[:, 1:]

    x = np.ones((2, 3, 3, 1))
    with pytest.raises(ShapeError, match=r"Cut\(most=1\) made \(2, 2, 3, 1\) of \(2, 3, 3, 1\)"):
        augment.augment(x, [Cut(1)], 0, 0, 0)
    with pytest.raises(TypeError, match="Augmentation defines no draws"):
        augment.augment(x, [Augmentation()], 0, 0, 0)
    with pytest.raises(TypeError, match="Augmentation defines no apply"):
        Augmentation().apply(x, x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shift(-1), "Shift: pixels must be a whole number of at least 0, not -1"),
        (lambda: Shift(1.5), "Shift: pixels must be a whole number"),
        (lambda: Crop(-2), "Crop: padding must be a whole number of at least 0, not -2"),
        (lambda: Crop(1, "wrap"), "border must be one of zeros, edge, reflect, not 'wrap'"),
        (lambda: Rotate(-1), "Rotate: degrees must be a number from 0 to 180"),
        (lambda: Rotate(181), "Rotate: degrees must be a number from 0 to 180, not 181"),
        (lambda: Rotate(float("nan")), "Rotate: degrees must be a number from 0 to 180"),
        (lambda: Noise(-0.1), "Noise: std must be a finite number of at least 0, not -0.1"),
        (lambda: Noise("much"), "Noise: std must be"),
        (lambda: Cutout(-3), "Cutout: size must be a whole number of at least 0, not -3"),
    ],
)
def test_settings_are_checked(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("each", [Shift(1), Crop(1), Flip(), Rotate(5), Noise(1), Cutout(1)])
def test_only_images_are_augmented(each: Augmentation) -> None:
    for shape in ((7,), (5, 3), (2, 4, 4, 1), ()):
        flat = Dataset(np.ones((3, *shape)), np.arange(3))
        with pytest.raises(ShapeError, match="images of shape"):
            flat.augmented(each)
    words = Dataset(np.ones((3, 4, 4, 1), int), np.arange(3))
    words.augmented(each)
    for wrong in (
        words.augmented(each).with_integers,
        lambda: words.with_integers().augmented(each),
    ):
        with pytest.raises(InputError, match="changes floats, but integers are to be kept"):
            wrong()


@pytest.mark.parametrize(
    ("each", "message"),
    [
        (Shift(4), r"Shift\(pixels=4\): pixels is too large for images of 6×4; at most 3 is"),
        (Crop(4), "padding is too large for images of 6×4; at most 3"),
        (Cutout(5), "size is too large for images of 6×4; at most 4"),
    ],
)
def test_sizes_fit_the_image(each: Augmentation, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Dataset(np.ones((3, 6, 4, 1)), np.arange(3), "few").augmented(each)


def test_only_augmentations_augment() -> None:
    with pytest.raises(InputError, match="few: an augmentation is needed, not 'flip'"):
        Dataset(np.ones((3, 6, 4, 1)), np.arange(3), "few").augmented("flip")
