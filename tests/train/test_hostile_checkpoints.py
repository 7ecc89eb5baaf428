"""A damaged or forged checkpoint is an error in words, at once and without its memory."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from cases import State, samples, trainer
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import tensor_file
from minidl.errors import CheckpointError
from minidl.train import EarlyStopping

MOST = 4 << 20
"""Bytes that refusing a file may need."""


@cache
def whole() -> dict[str, bytes]:
    """The files of a checkpoint named ``run``, in which a callback has arrays too."""
    with tempfile.TemporaryDirectory() as folder:
        made = trainer()
        made.fit(samples(), epochs=1, batch_size=8, callbacks=[EarlyStopping("training loss")])
        made.save(Path(folder, "run"))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def saved(folder: Path) -> Path:
    """These files in a folder."""
    folder.mkdir(exist_ok=True)
    for name, content in whole().items():
        (folder / name).write_bytes(content)
    return folder / "run"


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a checkpoint, its facts as data, and what follows."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["facts"] = json.loads(header["__metadata__"]["facts"])
    return header, content[8 + length :]


def write(path: Path, header: Any, data: bytes = b"") -> None:
    """The inverse of `parts`; a header that is text is written as it is."""
    if not isinstance(header, str):
        header = json.loads(json.dumps(header))
        metadata = header.get("__metadata__")
        if isinstance(metadata, dict) and not isinstance(metadata.get("facts", ""), str):
            metadata["facts"] = json.dumps(metadata["facts"])
        header = json.dumps(header)
    text = header.encode(errors="surrogatepass")
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint."""
    return saved(tmp_path)


def assert_refused(path: Path, match: str) -> None:
    """By a new trainer and by one that has trained; both are as before, and it costs nothing."""
    old = trainer()
    old.load(saved(path.parent / "old"))
    before = State.of(old)
    for victim in (trainer(), old):
        tracemalloc.start()
        began = time.perf_counter()
        try:
            with pytest.raises(CheckpointError, match=match):
                victim.load(path)
            assert time.perf_counter() - began < 2
            assert tracemalloc.get_traced_memory()[1] < MOST
        finally:
            tracemalloc.stop()
    State.of(old).assert_equals(before)


def test_the_issues_small_file_for_large_inputs(path: Path) -> None:
    """It took 1.9 GB and a minute before it was refused."""
    header, data = parts(path)
    header["__metadata__"]["facts"]["input_shape"] = [20_000_000]
    write(path, header, data)
    assert_refused(path, "was saved for another model")


@pytest.mark.parametrize("shape", [[20_000_000, 6], [6, 4, 50_000_000]])
def test_a_sparse_file_of_many_bytes(shape: list[int], path: Path) -> None:
    """4 KB on disk, 6 GB to read."""
    header, _ = parts(path)
    end = 0
    for name, entry in header.items():
        if name != "__metadata__":
            entry["shape"] = shape if name == "model.1.weight" else entry["shape"]
            size = int(np.prod(entry["shape"])) * 4
            entry["data_offsets"] = [end, end + size]
            end += size
    write(path, header)
    os.truncate(path, path.stat().st_size + end)
    assert_refused(path, "was saved for another model: model.1.weight is float32 of shape")


def test_a_sparse_callback(path: Path) -> None:
    header, data = parts(path)
    name = next(name for name in header if name.startswith("callback."))
    header["callback.x"] = {"dtype": "F32", "shape": [1 << 30], "data_offsets": [len(data), 0]}
    header["callback.x"]["data_offsets"] = [len(data), len(data) + (4 << 30)]
    write(path, header, data)
    os.truncate(path, path.stat().st_size + (4 << 30))
    assert_refused(path, "bytes of callbacks beside a model of")
    header["callback.x"] = header.pop(name)
    write(path, header, data)
    assert_refused(path, "callback.x belongs to no callback")


def test_a_sparse_history(path: Path) -> None:
    (history,) = path.parent.glob("run.*.history")
    header, data = parts(path)
    header["__metadata__"]["facts"]["history"]["size"] = 6 << 30
    write(path, header, data)
    os.truncate(history, 6 << 30)
    assert_refused(path, "is not the history that .* was saved with")


FACTS = {
    "seed": [None, -1, "0", 0.5, True, [0]],
    "dtype": [None, "float16", 3, ["float32"]],
    "optimizer": [None, "SGD(lr=0.05)", [], {"class": "minidl.optim.sgd.SGD", "settings": {}}],
    "input_shape": [None, 4, [], [0], [-4], [4.0], ["4"], [True], [10**30], [4] * 40, {"4": 1}],
    "epoch": [None, -1, 1.5, "1", 10**30, 10**400, [1]],
    "step": [None, -1, 1.5, 1e308, 10**400, True],
    "rate": [None, 0, -1.0, "1", [1.0], 10**400, -(10**400), True],
    "frozen": [None, 3, "1.weight", ["1.weight"], [None], {"x": 1}],
    "unseen": [None, 3, "Memory 1", {"x": 1}],
    "history": [None, [], {}, "run.00000000.history", {"name": "../../etc/passwd", "size": 9}],
    "callbacks": [None, [], 3, {"x": 3}, {"x": None}],
}


@pytest.mark.parametrize("name", sorted(FACTS))
def test_facts_that_cannot_be_are_refused(name: str, path: Path) -> None:
    saying = {"input_shape": "input_shape must be|saved for another model"}.get(name, name)
    for value in FACTS[name]:
        header, data = parts(saved(path.parent))
        header["__metadata__"]["facts"][name] = value
        write(path, header, data)
        with pytest.raises(CheckpointError, match=rf"run .*\b({saying})\b"):
            trainer().load(path)
    assert_refused(path, rf"run .*\b({saying})\b")


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("epochs", 0, "epoch"), -1, "-1, where a whole number"),
        (("epochs", 0, "steps"), 10**400, "where a whole number"),
        (("epochs", 0, "samples"), 1.5, "1.5, where a whole number"),
        (("epochs", 0, "seconds"), -1.0, "-1.0 seconds"),
        (("epochs", 0, "seconds"), 10**400, "seconds"),
        (("epochs", 0, "train"), {"loss": 10**400}, "figures must be floats"),
        (("steps", 0), {"loss": "1"}, "figures must be numbers"),
        (("steps",), [], "0 steps, and the staleness of"),
        (("staleness", 0), [-1], "-1, where a whole number"),
        (("lost",), [{"learner": "a", "why": "", "epoch": 0, "step": 0, "time": -1}], "seconds"),
    ],
)
def test_a_history_that_cannot_be(
    place: tuple[Any, ...], value: Any, says: str, path: Path
) -> None:
    """Its checksum is right, so somebody has written it on purpose."""
    (history,) = path.parent.glob("run.*.history")
    data = target = json.loads(history.read_text())
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    content = json.dumps(data).encode() + b"\n"
    history.write_bytes(content)
    header, rest = parts(path)
    facts = header["__metadata__"]["facts"]["history"]
    facts |= {"size": len(content), "checksum": zlib.crc32(content)}
    write(path, header, rest)
    with pytest.raises(CheckpointError, match=f"is not the history that .*{says}"):
        trainer().load(path)


@pytest.mark.parametrize("facts", [None, "", "no JSON", "[]", "{}", "3", '{"seed": 0}'])
def test_a_header_without_facts_is_refused(facts: str | None, path: Path) -> None:
    header, data = parts(path)
    header["__metadata__"]["facts"] = facts
    if facts is None:
        del header["__metadata__"]["facts"]
    write(path, header, data)
    assert_refused(path, "the header of .* is not as minidl writes it")


@pytest.mark.parametrize(
    "name", ["../run.00000000.history", "/etc/passwd", "run.history", "", "\0"]
)
def test_a_history_elsewhere_is_not_read(name: str, path: Path) -> None:
    header, data = parts(path)
    header["__metadata__"]["facts"]["history"]["name"] = name
    write(path, header, data)
    assert_refused(path, "the header of .* is not as minidl writes it: .* is no history")


@pytest.mark.parametrize("name", ["rate", "best_epoch"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1"])
def test_numbers_that_are_none(name: str, number: str, path: Path) -> None:
    """Also in what a callback remembers, which only its class could judge."""
    header, data = parts(path)
    text = json.dumps(header["__metadata__"]["facts"])
    forged = re.sub(rf'"{name}": [\d.]+', f'"{name}": {number}', text)
    assert forged != text
    header["__metadata__"]["facts"] = forged
    write(path, header, data)
    if (name, number) == ("best_epoch", "-1"):
        trainer().load(path)  # it is not known what it means
        return
    assert_refused(path, f"{number}, which is no finite number|rate must be above 0 and finite")


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("place", ["header", "facts", "history"])
def test_json_that_is_deep(place: str, path: Path) -> None:
    header, data = parts(path)
    match place:
        case "header":
            write(path, DEEP, data)
        case "facts":
            header["__metadata__"]["facts"] = DEEP
            write(path, header, data)
        case "history":
            (history,) = path.parent.glob("run.*.history")
            history.write_text(DEEP)
            facts = header["__metadata__"]["facts"]
            facts["history"] |= {
                "size": len(DEEP),
                "checksum": zlib.crc32(DEEP.encode()),
            }
            write(path, header, data)
    assert_refused(path, "too deep|recursion")


def test_a_name_twice(path: Path) -> None:
    header, data = parts(path)
    header["__metadata__"]["facts"] = json.dumps(header["__metadata__"]["facts"])
    text = json.dumps(header)
    write(path, text[:-1] + ', "model.1.bias": ' + json.dumps(header["model.1.bias"]) + "}", data)
    assert_refused(path, "twice the name 'model.1.bias'")
    facts = header["__metadata__"]["facts"]
    header["__metadata__"]["facts"] = facts[:-1] + ', "seed": 0}'
    write(path, header, data)
    assert_refused(path, "twice the name 'seed'")


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3", "I32", "F64", "float32", "", "C64"])
def test_a_tensor_of_another_type(kind: str, path: Path) -> None:
    header, data = parts(path)
    header["model.1.bias"]["dtype"] = kind
    write(path, header, data)
    assert_refused(path, "model.1.bias (is|has)")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(("model.1.weight", number) for number in (np.nan, np.inf, -np.inf)),
        ("optimizer.velocity.1.weight", np.nan),
    ],
)
def test_numbers_that_are_not_finite(name: str, number: float, path: Path) -> None:
    header, data = parts(path)
    start = header[name]["data_offsets"][0]
    bad = np.float32(number).tobytes()
    write(path, header, data[:start] + bad + data[start + 4 :])
    assert_refused(path, f"{name} holds NaN or infinities")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [6], "data_offsets": [0, 20]},
        {"dtype": "F32", "shape": [-6], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [6.0], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": 6, "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [6], "data_offsets": [24, 0]},
        {"dtype": "F32", "shape": [6], "data_offsets": [0]},
        {"dtype": "F32", "shape": [1] * 100, "data_offsets": [0, 4]},
        {"dtype": 32, "shape": [6], "data_offsets": [0, 24]},
        {},
        [],
        None,
    ],
)
def test_entries_that_cannot_be(entry: Any, path: Path) -> None:
    header, data = parts(path)
    header["model.1.bias"] = entry
    write(path, header, data)
    with pytest.raises(CheckpointError, match="no whole safetensors file"):
        trainer().load(path)


def test_a_file_that_shrinks_while_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mapped into memory, it ended the process (SIGBUS)."""
    fill = tensor_file._fill

    def shrinking(file: BinaryIO, memory: memoryview) -> None:
        if file.tell() > 8:
            os.truncate(path, path.stat().st_size // 2)
        fill(file, memory)

    monkeypatch.setattr(tensor_file, "_fill", shrinking)
    with pytest.raises(CheckpointError, match=r"bytes, where [\d,]+ belong"):
        trainer().load(path)


def places(data: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """The paths to all values within some JSON data."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in pairs:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, *path, key)


ODD = st.sampled_from(
    [None, True, -1, 0, 1, 2**31, 2**63, 10**30, 0.5, 1e308, "", "F64", "\ud800", [], {}, [[]], [0]]
) | st.recursive(st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3))


@given(data=st.data())
@settings(max_examples=300)
def test_any_mutation_is_loaded_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    """Of bytes anywhere in the file, and of values anywhere in its header and facts."""
    path, draw = saved(tmp_path), data.draw
    content = whole()["run"]
    if draw(st.booleans()):
        start = int(draw(st.floats(0, 1)) ** 3 * len(content))
        stop = start + draw(st.integers(0, 20))
        path.write_bytes(content[:start] + draw(st.binary(max_size=20)) + content[stop:])
    else:
        path.write_bytes(content)
        header, rest = parts(path)
        for _ in range(draw(st.integers(1, 2))):
            *outer, last = draw(st.sampled_from(sorted(places(header), key=repr)))
            target = header
            for key in outer:
                target = target[key]
            target[last] = draw(ODD)
        write(path, header, rest)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        made = trainer()
        tracemalloc.start()
        try:
            made.load(path)
        except CheckpointError:
            assert made._learnt is None
            assert made.epoch == 0
        else:
            assert all(np.isfinite(value).all() for value in made.weights().values())
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < MOST
