"""A data set: inputs, targets, and how stored numbers become floats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np

from minidl import rng
from minidl.checks import fits, is_number, is_whole, whole
from minidl.data.augment import Augmentation
from minidl.data.conversion import as_array
from minidl.errors import InputError
from minidl.reprs import brief, html_table

Indices = np.ndarray | slice


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with their targets.

    Images may stay bytes: `batch` turns only the samples it is asked for into
    floats, ``inputs * scale + offset``.

    Parameters
    ----------
    inputs
        Array of shape (N, ...), e.g. (N, H, W, C); integers or finite floats.
    targets
        Array of shape (N, ...): integer labels, or numbers to come close to.
    name
        What the set is called in messages.
    classes
        The labels' names in the order of the labels, or None.
    scale
        Every number of the inputs is multiplied by this.
    offset
        Added to every number of the inputs after that.
    keep_integers
        Whether `batch` gives the inputs as they are, for a network that begins with
        an `Embedding`; see `with_integers`.
    augmentations
        What is done to images when they are trained on; see `augmented`.

    Raises
    ------
    InputError
        If the arrays differ in length, are empty, hold NaN or infinity, or have
        a dtype that is not numeric; if integers shall be kept where there are none;
        if the samples cannot be augmented.
    """

    inputs: np.ndarray
    targets: np.ndarray
    name: str = "data"
    classes: tuple[str, ...] | None = None
    scale: float = 1.0
    offset: float = 0.0
    keep_integers: bool = False
    augmentations: tuple[Augmentation, ...] = ()

    __repr__ = brief

    def _repr_html_(self) -> str:
        """What its arrays hold, for notebooks."""
        rows = [
            (what, "×".join(map(str, array.shape)), f"{array.dtype}", f"{array.min():.6g}",
             f"{array.max():.6g}")
            for what, array in (("inputs", self.inputs), ("targets", self.targets))
        ]  # fmt: skip
        names = f"; classes: {', '.join(self.classes)}" if self.classes else ""
        heads = ("", "shape", "dtype", "least", "most")
        return html_table(f"{self.name}, {len(self)} samples{names}", heads, rows)

    def __post_init__(self) -> None:
        inputs = as_array(f"{self.name}: inputs", self.inputs)
        targets = as_array(f"{self.name}: targets", self.targets)
        for what, array in (("inputs", inputs), ("targets", targets)):
            if array.ndim == 0:
                raise InputError(f"{self.name}: {what} are one number; an array is needed")
            if array.dtype.kind not in "buif":
                raise InputError(
                    f"{self.name}: {what} have dtype {array.dtype}; integers or floats are needed"
                )
        if len(inputs) != len(targets):
            raise InputError(
                f"{self.name}: {len(inputs)} inputs but {len(targets)} targets; "
                "every sample needs one of each"
            )
        if len(inputs) == 0:
            raise InputError(f"{self.name}: no samples; at least one is needed")
        for what, array in (("inputs", inputs), ("targets", targets)):
            if array.dtype.kind == "f":
                _require_finite(self.name, what, array)
        if not (is_number(self.scale) and is_number(self.offset)):
            raise InputError(
                f"{self.name}: scale {self.scale!r} and offset {self.offset!r} "
                "must be finite numbers"
            )
        if not fits(self.keep_integers, bool):
            raise InputError(
                f"{self.name}: keep_integers must be True or False, not {self.keep_integers!r}"
            )
        if not isinstance(self.augmentations, tuple | list):
            raise InputError(
                f"{self.name}: augmentations must be a sequence, not {self.augmentations!r}"
            )
        if self.keep_integers and (inputs.dtype.kind not in "iu" or self._rescaled):
            raise InputError(
                f"{self.name}: keep_integers: a network that begins with an embedding needs "
                f"integers as they are; these inputs have dtype {inputs.dtype}, scale {self.scale} "
                f"and offset {self.offset}"
            )
        for each in self.augmentations:
            if not isinstance(each, Augmentation):
                raise InputError(
                    f"augmentations: {self.name}: an augmentation is needed, not {each!r}"
                )
            if self.keep_integers:
                raise InputError(f"{self.name}: {each} changes floats, but integers are to be kept")
            each.check(inputs.shape[1:])
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", targets)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(int(length) for length in self.inputs.shape[1:])

    def batch(
        self, indices: Indices, dtype: np.typing.DTypeLike = np.float32
    ) -> tuple[np.ndarray, np.ndarray]:
        """The inputs and targets of some samples, as arrays of their own.

        Parameters
        ----------
        indices
            Which samples, in the order wanted.
        dtype
            Of the inputs, and of targets that are floats; labels keep theirs, and so do
            inputs that are to stay integers.
        """
        kind = np.dtype(dtype)
        x = self.inputs[indices].astype(self.inputs.dtype if self.keep_integers else kind)
        if self.scale != 1.0:
            x *= self.scale
        if self.offset != 0.0:
            x += self.offset
        targets = self.targets[indices]
        return x, targets.astype(kind if targets.dtype.kind == "f" else targets.dtype)

    def with_integers(self) -> Dataset:
        """The data set whose inputs stay integers; an InputError if they are floats or scaled."""
        return replace(self, keep_integers=True)

    def augmented(self, *augmentations: Augmentation) -> Dataset:
        """The data set whose images are changed at random, anew in each epoch, when trained on.

        Only a `Loader` does that, which gives training its batches. `batch`, and with it
        evaluation and prediction, gives the images as they are.

        >>> train = train.augmented(augment.Shift(2), augment.Rotate(10))  # doctest: +SKIP

        Parameters
        ----------
        *augmentations
            In the order in which they act, behind those that there are. They see the floats
            after `scale` and `offset`.

        Raises
        ------
        InputError
            If one is no `Augmentation`, or cannot change samples of this shape.
        """
        return replace(self, augmentations=(*self.augmentations, *augmentations))

    @property
    def _rescaled(self) -> bool:
        return self.scale != 1.0 or self.offset != 0.0

    def take(self, indices: Indices) -> Dataset:
        """The data set of these samples only.

        Raises
        ------
        InputError
            If they are no whole numbers of samples that there are.
        """
        indices = _taken(self.name, indices, len(self))
        return replace(self, inputs=self.inputs[indices], targets=self.targets[indices])

    def split(self, count: int, *, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Part the samples at random; labels keep their proportions in both parts.

        Parameters
        ----------
        count
            Samples in the second part, from 1 to ``len(self) - 1``.
        seed
            Decides which ones.

        Returns
        -------
        tuple of Dataset
            All others, and the `count` ones; both in their old order.
        """
        if not is_whole(count, least=1) or count >= len(self):
            raise InputError(
                f"{self.name}: count: cannot part {count!r} of {len(self)} samples from the "
                f"others; 1 to {len(self) - 1} can be"
            )
        chosen = np.zeros(len(self), bool)
        seed = whole(f"{self.name}: split: seed", seed, least=0, most=inf)
        chosen[stratified(self.targets, count, seed)] = True
        return self.take(np.flatnonzero(~chosen)), self.take(np.flatnonzero(chosen))


def stratified(targets: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of `count` random samples, sorted, with each label's share kept.

    No label is further than one sample from its exact share. Targets that are
    not labels (floats, or more than one number a sample) count as one class.
    """
    labelled = targets.ndim == 1 and targets.dtype.kind in "bui"
    labels = targets if labelled else np.zeros(len(targets), np.int64)
    order = rng.stream(seed, "split").permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    # Every len/count-th sample of a shuffled list sorted by label: spread evenly over the labels.
    return np.sort(order[(np.arange(count) * 2 + 1) * len(order) // (2 * count)])


def _taken(name: str, indices: Indices, count: int) -> Indices:
    """What chooses samples along the first axis, checked."""
    if isinstance(indices, slice) and indices.step != 0 and _whole_bounds(indices):
        return indices
    numbers = as_array(f"{name}: indices", indices)
    if numbers.dtype.kind == "b" and numbers.shape == (count,):
        return numbers
    within = numbers.ndim == 1 and numbers.dtype.kind in "iu"
    if not within or not np.all((-count <= numbers) & (numbers < count)):
        raise InputError(
            f"{name}: indices: samples are chosen by a slice or an array of numbers "
            f"from 0 to {count - 1}, not {indices!r}"
        )
    return numbers


def _whole_bounds(rows: slice) -> bool:
    return fits((rows.start, rows.stop, rows.step), tuple[int | None, ...])


def _require_finite(name: str, what: str, array: np.ndarray) -> None:
    finite = np.isfinite(array)
    if not finite.all():
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise InputError(
            f"{name}: {what} hold {array[place]} at {place}; all numbers must be finite"
        )
