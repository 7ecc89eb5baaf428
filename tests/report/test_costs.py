"""The bars and bubbles drawn are the numbers counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from minidl import models, nn
from minidl.analysis import Summary, summary
from minidl.errors import InputError
from minidl.report.costs import draw_networks

NETWORKS = st.builds(
    lambda widths, batch, dtype: summary(
        nn.Sequential(
            *(nn.Sequential(nn.Conv2d(width, 3, padding=1), nn.ReLU()) for width in widths),
            nn.Flatten(),
            nn.Linear(3),
        ),
        (6, 5, 2),
        batch,
        dtype,
    ),
    st.lists(st.integers(1, 5), max_size=6),
    st.integers(1, 9),
    st.sampled_from(["float32", "float64"]),
)


@given(counted=NETWORKS)
def test_each_layer_has_a_bar_for_its_output_and_one_for_its_parameters(counted: Summary) -> None:
    (axes,) = counted.plot().axes
    itemsize = np.dtype(counted.dtype).itemsize
    outputs, parameters = ([bar.get_width() for bar in bars.patches] for bars in axes.containers)
    np.testing.assert_allclose(outputs, [row.activation_bytes / 1e6 for row in counted.rows])
    np.testing.assert_allclose(
        parameters, [row.parameters * itemsize / 1e6 for row in counted.rows]
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"{row.name} {row.kind}" for row in counted.rows
    ]
    assert axes.get_title() == (
        f"{counted.batch} sample{'s' if counted.batch > 1 else ''}, {counted.dtype}"
    )
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told[0] == f"outputs: {counted.activation_bytes / 1e6:,.2f} MB"
    assert told[1] == f"parameters: {counted.parameters * itemsize / 1e6:,.2f} MB"


def test_bars_stand_beside_each_other_in_the_order_of_the_layers() -> None:
    (axes,) = summary(models.lenet5(), (28, 28, 1)).plot().axes
    edges = [[(bar.get_y(), bar.get_y() + bar.get_height()) for bar in c] for c in axes.containers]
    ends = np.array([edge for pair in zip(*edges, strict=True) for edge in pair])
    assert (ends[1:, 0] >= ends[:-1, 1] - 1e-9).all()


def texts_overlap(figure: Figure, texts: Sequence[Text]) -> bool:
    """Whether any two texts cover each other, or one leaves the picture."""
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in texts]  # without an annotation's line
    inside = all(figure.bbox.padded(1).count_contains(box.corners()) == 4 for box in boxes)
    return not inside or any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_a_deep_network_names_every_layer() -> None:
    counted = summary(models.resnet50(), (224, 224, 3))
    figure = counted.plot()
    (axes,) = figure.axes
    assert len(axes.get_yticklabels()) == len(axes.containers[0].patches) == len(counted.rows)
    assert not texts_overlap(figure, axes.get_yticklabels())


def test_names_of_networks_do_not_cover_each_other() -> None:
    counted = {
        name: summary(models.make(name), models.usual_input(name)) for name in models.known()
    }
    figure = draw_networks(counted)
    (axes,) = figure.axes
    assert not texts_overlap(figure, axes.texts)


@given(counted=st.dictionaries(st.sampled_from("abcdefghijkl"), NETWORKS, min_size=1))
def test_each_network_is_a_bubble_at_its_multiply_adds_and_parameters(
    counted: dict[str, Summary],
) -> None:
    (axes,) = draw_networks(counted).axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    names = {text.get_text(): text for text in axes.texts}
    assert sorted(names) == sorted(counted)
    bytes_, areas = [], []
    for (name, each), bubble in zip(counted.items(), axes.collections, strict=True):
        text = names[name]
        assert bubble.get_label() == name
        np.testing.assert_array_equal(bubble.get_offsets(), [(each.multiply_adds, each.parameters)])
        assert text.xy == (each.multiply_adds, each.parameters)
        areas.append(bubble.get_sizes()[0] - 20)
        bytes_.append(each.activation_bytes)
    np.testing.assert_allclose(areas, 1200 * np.array(bytes_) / max(bytes_))


def test_pictures_are_written(tmp_path: Path) -> None:
    counted = summary(models.lenet5(), (28, 28, 1))
    counted.plot(tmp_path / "new" / "memory.png")
    draw_networks({"lenet5": counted}, tmp_path / "networks.svg")
    assert (tmp_path / "new" / "memory.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "networks.svg").read_bytes().startswith(b"<?xml")


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    counted = summary(models.lenet5(), (28, 28, 1))
    for name in ("picture.doc", "missing/picture.xyz"):
        with pytest.raises(InputError, match=re.escape(name) + r" is no name .* jpg, .* png,"):
            counted.plot(tmp_path / name)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="has no layer"):
        summary(nn.Sequential(), (3,)).plot()
    with pytest.raises(InputError, match="no network"):
        draw_networks({})
    with pytest.raises(InputError, match="flat has no place .* 0 multiply-adds, 0 parameters"):
        draw_networks({"lenet5": counted, "flat": summary(nn.Flatten(), (3, 2))})
