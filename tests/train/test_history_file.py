"""The history beside a checkpoint grows by what is new, and both are of one moment."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import State, samples, trainer
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import CheckpointError
from minidl.train import Checkpoints, EpochRecord, History, Trainer
from minidl.train import checkpoint as checkpoints


def trained(epochs: int = 1, *callbacks: Any) -> Trainer:
    made = trainer()
    made.fit(samples(), epochs=epochs, batch_size=8, callbacks=callbacks)
    return made


def loaded(path: Path) -> Trainer:
    """What a checkpoint holds; a warning is an error."""
    made = trainer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.load(path)
    return made


def history_of(path: Path) -> Path:
    """The one history file that bears a checkpoint's name."""
    (found,) = path.parent.glob(f"{path.name}.*.history")
    return found


def long(steps: int) -> History:
    """The history of many steps, a hundred an epoch."""
    return History(
        [
            EpochRecord(epoch, {"loss": 1.5}, {"loss": 2.5}, 0.1, 800, 100, "serial")
            for epoch in range(steps // 100)
        ],
        [{"loss": 1 / (1 + step), "time": step / 7} for step in range(steps)],
        [()] * steps,
    )


@pytest.mark.parametrize("under_way", [False, True])
def test_a_checkpoint_costs_the_same_after_ten_steps_and_after_many(
    under_way: bool, tmp_path: Path
) -> None:
    """In bytes written; past a million steps it could not be saved at all."""
    grown, sizes = [], []
    for steps in (10, 30_000):
        path = tmp_path / f"{steps:06}"
        made = trained()
        made.history.extend(long(steps))
        made.save(path)
        before = history_of(path).stat().st_size
        if under_way:
            made.fit(samples(), epochs=2, batch_size=8, callbacks=[Checkpoints(path)])
        else:
            made.fit(samples(), epochs=2, batch_size=8)
            made.save(path)
        grown.append(history_of(path).stat().st_size - before)
        sizes.append(path.stat().st_size)
        again = loaded(path)
        assert again.history.to_json() == made.history.to_json()
        assert len(again.history.steps) == steps + 9
    assert abs(grown[0] - grown[1]) < 100
    assert abs(sizes[0] - sizes[1]) < 100


def test_the_checkpoints_of_a_run_share_one_history(tmp_path: Path) -> None:
    whole = trained(5, Checkpoints(tmp_path / "{epoch}"))
    histories = [history_of(tmp_path / str(epoch)) for epoch in range(1, 6)]
    assert all(path.samefile(histories[0]) for path in histories)
    for epoch in range(1, 6):
        losses = loaded(tmp_path / str(epoch)).history.losses
        assert losses == whole.history.losses[: 3 * epoch]


@given(actions=st.lists(st.sampled_from(["fit", "a", "b", "load a", "load b"]), max_size=9))
def test_whatever_was_saved_where_is_what_is_loaded(actions: list[str], tmp_path: Path) -> None:
    """Also where a run goes back and then another way, and where two alternate."""
    for path in tmp_path.iterdir():
        path.unlink()
    made, saved = trained(), dict[str, list[float]]()
    for action in actions:
        name = action[-1]
        match action:
            case "fit":
                made.fit(samples(8 + len(saved)), epochs=1, batch_size=8)
            case "a" | "b":
                made.save(tmp_path / name)
                saved[name] = list(made.history.losses)
            case _ if name in saved:
                made.load(tmp_path / name)
    for name, losses in saved.items():
        again = loaded(tmp_path / name)
        assert again.history.losses == losses
        assert history_of(tmp_path / name)


def test_two_that_continue_one_checkpoint_do_not_disturb_each_other(tmp_path: Path) -> None:
    trained().save(tmp_path / "base")
    one, other = loaded(tmp_path / "base"), loaded(tmp_path / "base")
    one.fit(samples(), epochs=1, batch_size=8)
    other.fit(samples(), epochs=2, batch_size=4)
    for each, name in ((one, "one"), (other, "other"), (one, "one")):
        each.save(tmp_path / name)
    assert loaded(tmp_path / "one").history.losses == one.history.losses
    assert loaded(tmp_path / "other").history.losses == other.history.losses
    assert len(loaded(tmp_path / "base").history.losses) == 3
    assert len(history_of(tmp_path / "base").read_text().splitlines()) == 2  # its own, and one's


def test_another_process_may_append_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained().save(tmp_path / "base")
    one = loaded(tmp_path / "base")
    one.fit(samples(), epochs=1, batch_size=8)
    dumps, others = json.dumps, [b"another's line\n"]

    def late(*arguments: Any, **settings: Any) -> str:
        """Called when the file has been found to be as long as it was."""
        if others:
            with open(history_of(tmp_path / "base"), "ab") as file:
                file.write(others.pop())
        return dumps(*arguments, **settings)

    monkeypatch.setattr(json, "dumps", late)
    one.save(tmp_path / "one")
    monkeypatch.undo()
    assert loaded(tmp_path / "one").history.losses == one.history.losses
    assert history_of(tmp_path / "one").stat().st_nlink == 1
    assert len(loaded(tmp_path / "base").history.losses) == 3


def test_a_crash_between_the_two_files_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the worst moment: the history is longer already, the checkpoint is still the old one."""
    made, path = trained(), tmp_path / "now" / "run"
    made.save(path)
    before = State.of(made)
    write = checkpoints.write

    def crash(*arguments: Any) -> None:
        shutil.copytree(path.parent, tmp_path / "crashed")
        write(*arguments)

    monkeypatch.setattr(checkpoints, "write", crash)
    made.fit(samples(), epochs=1, batch_size=8)
    made.save(path)
    monkeypatch.undo()
    crashed = tmp_path / "crashed" / "run"
    assert history_of(crashed).read_bytes() == history_of(path).read_bytes()
    again = loaded(crashed)
    before.assert_equals(State.of(again))
    again.fit(samples(), epochs=3, batch_size=8)
    again.save(crashed)
    State.of(again).assert_equals(State.of(loaded(crashed)))
    history_of(crashed)


def test_without_its_history_a_checkpoint_is_loaded_and_says_so(tmp_path: Path) -> None:
    made = trained(2)
    made.save(tmp_path / "run")
    shutil.copy(tmp_path / "run", tmp_path / "copy")
    (tmp_path / "far").mkdir()
    shutil.copy(tmp_path / "run", tmp_path / "far" / "run")
    assert loaded(tmp_path / "copy").history.losses == made.history.losses
    again = trainer()
    missing = r"the history of .*far/run, is missing; it begins anew"
    with pytest.warns(UserWarning, match=missing) as caught:
        again.load(tmp_path / "far" / "run")
    assert caught[0].filename == __file__
    assert (again.epoch, again.history.losses) == (2, [])
    for name, value in made.weights().items():
        np.testing.assert_array_equal(again.weights()[name], value)
    again.fit(samples(), epochs=1, batch_size=8)
    again.save(tmp_path / "far" / "run")
    assert loaded(tmp_path / "far" / "run").history.losses == again.history.losses


def test_both_files_may_be_renamed(tmp_path: Path) -> None:
    made = trained()
    made.save(tmp_path / "run")
    history = history_of(tmp_path / "run")
    history.rename(tmp_path / history.name.replace("run", "best"))
    (tmp_path / "run").rename(tmp_path / "best")
    assert loaded(tmp_path / "best").history.losses == made.history.losses


@given(part=st.floats(0, 1, exclude_max=True), change=st.integers(0, 255))
def test_a_damaged_history_is_refused(part: float, change: int, tmp_path: Path) -> None:
    """One byte is another, or it ends there."""
    trained().save(tmp_path / "run")
    path = history_of(tmp_path / "run")
    content = bytearray(path.read_bytes())
    place = int(part * len(content))
    content[place] ^= change
    path.write_bytes(content if change else content[:place])
    with pytest.raises(CheckpointError, match=r"history that .*run was saved with .*without that"):
        trainer().load(tmp_path / "run")


def test_another_run_in_the_same_place_leaves_no_old_history(tmp_path: Path) -> None:
    for epochs in (3, 1):
        last = trained(epochs, Checkpoints(tmp_path / "run"))
    assert loaded(tmp_path / "run").history.losses == last.history.losses
    assert len(list(tmp_path.iterdir())) == 2


def test_a_history_that_was_put_in_anothers_place_is_saved_as_a_whole(tmp_path: Path) -> None:
    made = trained(2)
    made.save(tmp_path / "run")
    made.history = History()
    made.fit(samples(), epochs=1, batch_size=8)
    made.save(tmp_path / "run")
    assert loaded(tmp_path / "run").history.losses == made.history.losses
    assert len(made.history.epochs) == 1


def test_a_checkpoint_behind_a_symbolic_link_is_replaced_there(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "real", tmp_path / "link"
    link.symlink_to(target)
    made = trained()
    made.save(link)
    made.fit(samples(), epochs=1, batch_size=8)
    made.save(link)
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "store"]
    for path in (link, target):
        State.of(made).assert_equals(State.of(loaded(path)))


def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(tmp_path: Path) -> None:
    """What was saved before remains, and so a run that diverges can go on from there."""
    made, path = trained(), tmp_path / "run"
    made.save(path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    made.fit(samples(), epochs=1, batch_size=8)
    made._existing().buffer.values[3] = np.nan
    with pytest.raises(
        ArithmeticError, match=r"model\.\d\.\w+ is not finite, so nothing was saved"
    ):
        made.save(path)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_figures_that_are_not_finite_are_kept(tmp_path: Path) -> None:
    made = trained()
    made.history.steps[0]["loss"] = float("inf")
    made.history.steps[1]["loss"] = float("nan")
    made.save(tmp_path / "run")
    np.testing.assert_array_equal(loaded(tmp_path / "run").history.losses, made.history.losses)
