"""A network's layers in the order in which they run, with what each costs and sees."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl import nn
from minidl.analysis.receptive_field import PIXEL, Sight, joined
from minidl.analysis.rules import multiply_adds, sight
from minidl.checks import checked, whole
from minidl.errors import InputError
from minidl.models import Seq2Seq
from minidl.models.gan import GAN
from minidl.nn.parameters import Shape
from minidl.reprs import html_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Row:
    """One layer, or the sum or the joining with which a composite ends.

    Parameters
    ----------
    name
        Its dotted name, empty if it is the whole network.
    kind
        Its type.
    shape
        Of one sample's output.
    parameters
        How many weights it has; what it shares with an earlier layer counts there.
    multiply_adds
        For one forward pass of the whole batch, see `analysis.multiply_adds`.
    activation_bytes
        The size of its output for the whole batch; 0 if that is a view of its input.
    fields
        What a position of the output sees down and across the image; None if the output
        is no image.
    frozen
        How many of the parameters are frozen; the others are trainable.
    """

    name: str
    kind: str
    shape: Shape
    parameters: int
    multiply_adds: int
    activation_bytes: int
    fields: Sight
    frozen: int = 0


@dataclass(frozen=True)
class Summary:
    """All rows and their totals.

    Parameters
    ----------
    input_shape
        Of one sample.
    batch
        Samples that multiply-adds and activation bytes are for.
    dtype
        Of the activations.
    rows
        In the order of the forward pass.
    """

    input_shape: Shape
    batch: int
    dtype: str
    rows: tuple[Row, ...]

    def __repr__(self) -> str:
        return (
            f"Summary({self.input_shape} to {self.output_shape}, {len(self.rows)} layers, "
            f"{self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds, "
            f"batch={self.batch}, dtype={self.dtype})"
        )

    def _repr_html_(self) -> str:
        """A row for each layer, for notebooks."""
        rows = [
            (row.name, row.kind, "×".join(map(str, row.shape)), f"{row.parameters:,}",
             f"{row.multiply_adds:,}", f"{row.activation_bytes / 1e6:.3f}")
            for row in self.rows
        ]  # fmt: skip
        heads = ("layer", "type", "output", "parameters", "multiply-adds", "output, MB")
        return html_table(repr(self), heads, rows)

    @property
    def parameters(self) -> int:
        """All weights, trainable or frozen; running means are not counted."""
        return sum(row.parameters for row in self.rows)

    @property
    def frozen(self) -> int:
        """How many of the parameters are frozen; see `Layer.freeze`."""
        return sum(row.frozen for row in self.rows)

    @property
    def trainable(self) -> int:
        """How many of the parameters are learnt."""
        return self.parameters - self.frozen

    @property
    def multiply_adds(self) -> int:
        """Of a forward pass of the batch; a backward pass costs about twice as much."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """All outputs together, which is about what training keeps for the backward pass."""
        return sum(row.activation_bytes for row in self.rows)

    @property
    def output_shape(self) -> Shape:
        """Of one sample."""
        return self.rows[-1].shape if self.rows else self.input_shape

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw each layer's memory, of outputs and of parameters; saved if `path` is given."""
        from minidl.report.costs import draw_memory

        return draw_memory(self, path)

    def totals(self) -> dict[str, Any]:
        """Everything but the rows, as plain data."""
        return {
            "input_shape": self.input_shape,
            "batch": self.batch,
            "dtype": self.dtype,
            "output_shape": self.output_shape,
            "parameters": self.parameters,
            "trainable": self.trainable,
            "frozen": self.frozen,
            "multiply_adds": self.multiply_adds,
            "activation_bytes": self.activation_bytes,
        }

    def to_json(self) -> str:
        """Everything, for scripts."""
        return json.dumps(self.totals() | asdict(self), indent=2)


@checked
def summary(
    model: nn.Layer, shape: Sequence[int], batch: int = 1, dtype: np.typing.DTypeLike = np.float32
) -> Summary:
    """What each layer of a network costs and sees, from shapes alone.

    Nothing is allocated, and a model that had no parameters has none afterwards,
    so that networks too large for this machine can be counted.

    Parameters
    ----------
    model
        Any layer.
    shape
        Of one input sample; (H, W, C) for images.
    batch
        The number of samples.
    dtype
        Of the activations.

    Raises
    ------
    InputError
        If the shape or the batch is not positive, or a layer is of a kind unknown here.
    ShapeError
        If a layer cannot take its input, or was built for another.
    """
    shape = tuple(whole("summary: each size of the shape", size) for size in shape)
    batch = whole("summary: batch", batch)
    kind = np.dtype(dtype)
    known = {id(parameter) for parameter in model.parameters().values()}
    try:
        walk = _Walk(batch, kind.itemsize)
        rows = list(walk.through(model, model.path, shape, PIXEL if len(shape) == 3 else None))
    finally:
        model.forget(known)
    return Summary(shape, batch, kind.name, tuple(rows))


class _Walk:
    """Goes through a network as a forward pass does; `shape` and `seen` are where it is."""

    def __init__(self, batch: int, itemsize: int) -> None:
        self.batch = batch
        self.itemsize = itemsize
        self.counted: set[int] = set()
        self.shape: Shape = ()
        self.seen: Sight = None

    def through(self, layer: nn.Layer, name: str, shape: Shape, seen: Sight) -> Iterator[Row]:
        """The rows of a layer that is given this; afterwards the walk stands behind it."""
        self.shape, self.seen = shape, seen
        match layer:
            case nn.Sequential():
                for part, child in layer.children():
                    yield from self.through(child, _below(name, part), self.shape, self.seen)
            case nn.Residual():
                yield from self._ways(layer, name, [layer.body, layer.shortcut or nn.Sequential()])
            case nn.Concat():
                yield from self._ways(layer, name, layer.branches)
            case nn.AuxiliaryHeads():
                yield from self._with_heads(layer, name)
            case Seq2Seq():
                layer.build(shape)
                read, written = layer.source_steps, shape[0] - layer.source_steps
                for steps, parts in (
                    (read, ("source_embedding", "encoder")),
                    (written, ("target_embedding", "decoder", "output")),
                ):
                    self.shape = (steps,)
                    for part in parts:
                        child = getattr(layer, part)
                        yield from self.through(child, _below(name, part), self.shape, None)
            case GAN():
                yield from self._game(layer, name, shape, seen)
            case _ if any(layer.children()) and not isinstance(layer, nn.Recurrent):
                raise InputError(
                    f"summary does not know in which order {layer.describe()} runs its parts; "
                    "it knows Sequential, Residual, Concat, AuxiliaryHeads, Seq2Seq and GAN"
                )
            case _:
                made = layer.build(shape)
                self.shape, self.seen = made, sight(layer, seen, shape, made)
                cost = self.batch * multiply_adds(layer, shape, made)
                yield self._row(layer, name, cost)

    def _ways(self, layer: nn.Layer, name: str, ways: Sequence[nn.Layer]) -> Iterator[Row]:
        """Several ways from here, and where they meet."""
        shape, seen = self.shape, self.seen
        names = {id(child): part for part, child in layer.children()}
        ends = []
        for way in ways:
            yield from self.through(way, _below(name, names.get(id(way), "")), shape, seen)
            ends.append(self.seen)
        self.shape, self.seen = layer.build(shape), joined(ends)
        yield self._row(layer, name, 0)

    def _with_heads(self, layer: nn.AuxiliaryHeads, name: str) -> Iterator[Row]:
        """The stages, each followed by its head, behind which the walk goes on from the stage."""
        for place, stage in enumerate(layer.stages):
            yield from self.through(stage, _below(name, str(place)), self.shape, self.seen)
            here = self.shape, self.seen
            for head in layer.heads[place : place + 1]:
                yield from self.through(head, _below(name, f"head{place}"), *here)
            self.shape, self.seen = here

    def _game(self, gan: GAN, name: str, shape: Shape, seen: Sight) -> Iterator[Row]:
        """The generator from its noise on, then the discriminator on samples."""
        gan.build(shape)
        yield from self.through(gan.generator, _below(name, "generator"), (gan.latent,), None)
        yield from self.through(gan.discriminator, _below(name, "discriminator"), shape, seen)

    def _row(self, layer: nn.Layer, name: str, cost: int) -> Row:
        own = [p for p in layer.parameters().values() if p.has_gradient]
        fresh = [parameter for parameter in own if id(parameter) not in self.counted]
        self.counted.update(map(id, fresh))
        size = 0 if isinstance(layer, nn.Flatten) else prod(self.shape)
        return Row(
            name,
            type(layer).__name__,
            self.shape,
            sum(parameter.size for parameter in fresh),
            cost,
            self.batch * size * self.itemsize,
            self.seen,
            sum(parameter.size for parameter in fresh if parameter.frozen),
        )


def _below(name: str, part: str) -> str:
    return f"{name}.{part}" if name and part else name or part
