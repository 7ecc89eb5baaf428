"""What networks cost: the memory of each layer, and networks beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from minidl.errors import InputError
from minidl.report.style import SERIES, new_figure, save

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure


class Layer(Protocol):
    """What is drawn of a layer: ``minidl.analysis.Row`` is one."""

    @property
    def name(self) -> str:
        """The layer's dotted name."""
        ...

    @property
    def kind(self) -> str:
        """The layer's type."""
        ...

    @property
    def parameters(self) -> int:
        """How many numbers are learnt."""
        ...

    @property
    def activation_bytes(self) -> int:
        """Bytes of the outputs for the batch."""
        ...


class Network(Protocol):
    """What is drawn of a network: ``minidl.analysis.Summary`` is one."""

    @property
    def rows(self) -> Sequence[Layer]:
        """The layers, in the order of the forward pass."""
        ...

    @property
    def batch(self) -> int:
        """Samples that multiply-adds and activation bytes are for."""
        ...

    @property
    def dtype(self) -> str:
        """Of the activations."""
        ...

    @property
    def parameters(self) -> int:
        """How many numbers are learnt."""
        ...

    @property
    def multiply_adds(self) -> int:
        """Of a forward pass of the batch."""
        ...

    @property
    def activation_bytes(self) -> int:
        """Bytes of all outputs together."""
        ...


def draw_memory(network: Network, path: str | Path | None = None) -> Figure:
    """Draw the memory of each layer's output and of its parameters as bars, from top to bottom.

    In networks of convolutions, the outputs of the first layers and the parameters of
    the last ones need most.

    Parameters
    ----------
    network
        A ``minidl.analysis.summary``, whose batch and dtype the bytes are for.
    path
        Where to save the picture, if anywhere.

    Raises
    ------
    InputError
        If the network has no layer.
    """
    if not network.rows:
        raise InputError("there is nothing to draw: the network has no layer")
    itemsize = np.dtype(network.dtype).itemsize
    places = np.arange(len(network.rows))
    figure = new_figure(8, 1.4 + 0.24 * len(places))  # as long as it takes to name every layer
    axes = figure.subplots()
    for side, colour, what, sizes in (
        (-0.2, SERIES[0], "outputs", [row.activation_bytes for row in network.rows]),
        (0.2, SERIES[1], "parameters", [itemsize * row.parameters for row in network.rows]),
    ):
        label = f"{what}: {sum(sizes) / 1e6:,.2f} MB"
        axes.barh(places + side, np.array(sizes) / 1e6, 0.4, color=colour, label=label)
    axes.set_yticks(places, [f"{row.name} {row.kind}".strip() for row in network.rows], fontsize=8)
    axes.set_ylim(len(places) - 0.4, -0.6)  # the first layer at the top
    samples = "1 sample" if network.batch == 1 else f"{network.batch} samples"
    axes.set_title(f"{samples}, {network.dtype}")
    axes.set_xlabel("MB")
    axes.grid(alpha=0.3, axis="x")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8)
    return save(figure, path)


def draw_networks(networks: Mapping[str, Network], path: str | Path | None = None) -> Figure:
    """Draw parameters against multiply-adds of several networks, each as a bubble.

    A bubble's area is the memory of all layers' outputs.

    >>> from minidl import analysis, models
    >>> counted = {
    ...     name: analysis.summary(models.make(name), (224, 224, 3))
    ...     for name in ("alexnet", "vgg16", "resnet50")
    ... }
    >>> figure = draw_networks(counted, "networks.png")  # doctest: +SKIP

    Parameters
    ----------
    networks
        A ``minidl.analysis.summary`` of each, by the name to draw it under. Multiply-adds
        and memory are for each one's batch.
    path
        Where to save the picture, if anywhere.

    Raises
    ------
    InputError
        If there is no network, or one multiplies nothing, which has no place on a
        logarithmic axis.

    References
    ----------
    Canziani, Culurciello and Paszke, "An analysis of deep neural network models for
    practical applications", 2017, with accuracy on the other axis.
    """
    if not networks:
        raise InputError("there is nothing to draw: no network")
    for name, network in networks.items():
        if not (network.multiply_adds and network.parameters):
            raise InputError(
                f"{name} has no place on logarithmic axes: {network.multiply_adds} multiply-adds, "
                f"{network.parameters} parameters"
            )
    figure = new_figure(8, 6)
    axes = figure.subplots()
    largest = max(network.activation_bytes for network in networks.values())
    for number, (name, network) in enumerate(networks.items()):
        place = network.multiply_adds, network.parameters
        # Half-transparent, because networks of a family lie upon each other.
        axes.scatter(
            *place, 20 + 1200 * network.activation_bytes / max(1, largest),
            color=SERIES[number % len(SERIES)], alpha=0.5, label=name,
        )  # fmt: skip
    # Names stand in a column beside the axes, in the order of their bubbles' heights: networks of
    # a family lie so close together that names beside the bubbles would cover each other.
    by_height = sorted(networks, key=lambda name: networks[name].parameters)
    for height, name in zip(np.linspace(0.02, 0.98, len(by_height)), by_height, strict=True):
        network = networks[name]
        axes.annotate(
            name, (network.multiply_adds, network.parameters), (1.06, height),
            textcoords="axes fraction", va="center", fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.6, "shrinkA": 1},
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="multiply-adds", ylabel="parameters")
    axes.set_title(f"area: outputs of all layers, the largest {largest / 1e6:,.1f} MB")
    axes.margins(0.15)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    return save(figure, path)
