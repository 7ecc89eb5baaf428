"""Exporting and importing: safetensors files with PyTorch's names in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from reprlib import repr as short

import numpy as np

from minidl import files, kernels
from minidl.checks import checked
from minidl.checks import path as path_of
from minidl.errors import CheckpointError, InputError
from minidl.nn.layer import Layer
from minidl.nn.parameters import Array
from minidl.nn.pytorch.order import places
from minidl.nn.pytorch.tensors import Tensor, pytorch_tensors
from minidl.tensor_file import Entry, opened

HINT = "; PyTorch writes one with safetensors.torch.save_file(model.state_dict(), path)"
Renaming = Mapping[str, str] | Callable[[str], str]
"""From names here to names there, of layers; or a function of a tensor's whole name."""


@checked
def export_pytorch(model: Layer, path: str | PathLike[str], rename: Renaming | None = None) -> None:
    """Write a network's weights as the same network in PyTorch would.

    ``model.load_state_dict(safetensors.torch.load_file(path))`` reads them there. A tensor is
    named by the layer's dotted name here and the parameter's name there, as ``"0.weight"``;
    one that several layers share stands there once. Axes are put in PyTorch's order, and so
    are the weights behind a `Flatten` or before a `Reshape`, for PyTorch flattens images
    channels first. Sequences are meant as PyTorch's ``batch_first=True`` has them. Of the two
    biases of a recurrent layer the second is 0 where one alone would do.

    Parameters
    ----------
    model
        Any network that has been initialised.
    path
        A safetensors file, replaced as a whole or not at all.
    rename
        Other names: either for layers, such as ``{"0": "features.0", "7": "head"}``, with all
        that is below them, or a function of a tensor's whole name.

    Raises
    ------
    InputError
        If a layer is of a kind that PyTorch has not, two tensors get one name, or a flattened
        image goes where its order cannot be followed.
    NotBuiltError
        If the network has not been initialised.
    """
    from safetensors.numpy import save

    path = path_of("export_pytorch: path", path)
    arrays = {name: _on_host(tensor.value) for name, tensor in _named(model, rename).items()}
    files.replace(path, save(arrays, {"format": "pt"}))


@checked
def import_pytorch(model: Layer, path: str | PathLike[str], rename: Renaming | None = None) -> None:
    """Set a network's weights to those that PyTorch has written for the same network.

    ``safetensors.torch.save_file(model.state_dict(), path)`` writes them there. Names and
    layout are those of `export_pytorch`; the two biases of a recurrent layer are added up.
    Settings are not in the file: PyTorch's defaults are those here.

    Parameters
    ----------
    model
        The network, as for `export_pytorch`. Its weights keep the type that they have here.
    path
        The safetensors file to read.
    rename
        Other names for the tensors in the file, as for `export_pytorch`.

    Raises
    ------
    CheckpointError
        If the file is missing or no whole safetensors file, a weight in it is not finite, or its
        tensors are not those of the network; the message then lists all that are missing, not
        known here, or of another shape. The network then is as it was.
    InputError
        As for `export_pytorch`.
    NotBuiltError
        As for `export_pytorch`.
    """
    wanted, path = _named(model, rename), path_of("import_pytorch: path", path)
    with opened(path, hint=HINT) as file:
        found = file.entries
        faults = [
            f"missing {n}" for n, tensor in wanted.items() if tensor.needed and n not in found
        ]
        faults += [f"not known here {name}" for name in found if name not in wanted]
        for name, entry in found.items():
            if name in wanted:
                faults += _misfit(name, entry, wanted[name])
        if faults:
            raise CheckpointError(
                f"{path} does not hold the weights of this network: {'; '.join(faults)}"
            )
        read = {name: _finite(path, name, file.read(name)) for name in found}
    for name, tensor in wanted.items():
        if name in read:
            tensor.write(kernels.array_module(tensor.value).asarray(read[name]))


def _named(model: Layer, rename: Renaming | None) -> dict[str, Tensor]:
    """All tensors of a network by PyTorch's names."""
    named: dict[str, Tensor] = {}
    for path, layer, given, made in places(model):
        for name, tensor in pytorch_tensors(layer, given, made).items():
            there = _renamed(f"{path}.{name}" if path else name, rename)
            if there in named:
                raise InputError(f"rename gives two tensors the name {there!r}")
            named[there] = tensor
    return named


def _renamed(name: str, rename: Renaming | None) -> str:
    if rename is None:
        return name
    if not isinstance(rename, Mapping):
        try:
            new = rename(name)
        except Exception as error:
            raise InputError(
                f"rename of {name!r} ends in {type(error).__name__}: {error}"
            ) from error
        if not isinstance(new, str):
            raise InputError(f"rename of {name!r} must be a string, not {short(new)}")
        return new
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        layer = ".".join(parts[:end])
        if layer in rename:
            return ".".join([rename[layer], *parts[end:]])
    return name


def _misfit(name: str, entry: Entry, tensor: Tensor) -> list[str]:
    """What is wrong with a tensor in a file, if anything is."""
    if entry.shape != tensor.value.shape:
        return [f"{name} has shape {entry.shape}, not {tensor.value.shape}"]
    if entry.dtype is None:
        return [
            f"{name} is of type {entry.kind}, which NumPy has not: let PyTorch save model.float()"
        ]
    if tensor.needed and entry.dtype.kind != "f":
        return [f"{name} is of type {entry.dtype}, not a float"]
    return []


def _finite(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all():
        raise CheckpointError(f"{path}: {name} holds NaN or infinities")
    return array


def _on_host(array: Array) -> np.ndarray:
    return np.asarray(array.get() if hasattr(array, "get") else array, order="C")
