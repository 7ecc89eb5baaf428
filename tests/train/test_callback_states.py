"""What callbacks remember goes on from fit to fit and from checkpoint to checkpoint."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import MAKERS, State, samples, strategy, trainer
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minidl import optim
from minidl.errors import CheckpointError, InputError
from minidl.train import Callback, Checkpoints, EarlyStopping, ReduceOnPlateau, Run, Trainer
from minidl.train.fitting import Fit

FIT: dict[str, Any] = {"batch_size": 5, "validation": samples(9)}
RULE = optim.SGD(lr=0.7, momentum=0.9)  # so high that losses go up and down


class Memory(Callback):
    """Decides by all losses that it has seen, and remembers numbers, lists and arrays."""

    def begin(self) -> None:
        self.losses: list[float] = []
        self.sums = np.zeros(2)

    def epoch(self, run: Run) -> None:
        self.losses.append(run.figure("training loss"))
        self.sums += [self.losses[-1], 1]
        run.slow(0.5 + 0.5 / (1 + self.sums[0] / self.sums[1]))

    def state_dict(self) -> Mapping[str, Any]:
        return {"losses": self.losses, "sums": self.sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.losses, self.sums = state["losses"], state["sums"]


CALLBACKS: dict[str, Callable[[int], Callback]] = {
    "stopping": lambda patience: EarlyStopping("validation loss", patience),
    "not going back": lambda patience: EarlyStopping(patience=patience, restore_best=False),
    "accuracy": lambda patience: EarlyStopping("training accuracy", patience + 2),
    "plateau": lambda patience: ReduceOnPlateau("training loss", patience, factor=0.5),
    "strict plateau": lambda patience: ReduceOnPlateau(patience=patience, least=0.1),
    "memory": lambda patience: Memory(),
}
chosen = st.lists(
    st.tuples(st.sampled_from(sorted(CALLBACKS)), st.integers(1, 3)), min_size=1, max_size=3
)


def made(names: list[tuple[str, int]], *others: Any) -> list[Any]:
    return [*others, *(CALLBACKS[name](patience) for name, patience in names)]


def fit(trained: Trainer, epochs: int, callbacks: list[Any], name: str = "serial") -> Trainer:
    trained.fit(samples(), epochs=epochs, strategy=strategy(name), callbacks=callbacks, **FIT)
    return trained


def assert_same(one: Trainer, other: Trainer) -> None:
    State.of(one).assert_equals(State.of(other))
    assert (one.rate, one.history.stopped) == (other.rate, other.history.stopped)


@settings(max_examples=10)
@given(
    name=st.sampled_from(["serial", "ring"]), names=chosen, epochs=st.integers(2, 8), data=st.data()
)
def test_a_fit_interrupted_after_an_epoch_ends_as_the_one_never_interrupted(
    name: str, names: list[tuple[str, int]], epochs: int, data: st.DataObject, tmp_path: Path
) -> None:
    """Wherever the saving callback stands among the others."""
    callbacks = made(names)
    place = data.draw(st.integers(0, len(callbacks)))
    callbacks.insert(place, Checkpoints(tmp_path / "{epoch}"))
    whole = fit(trainer(optimizer=RULE), epochs, callbacks, name)
    assume(len(whole.history.epochs) > 1)
    done = data.draw(st.integers(1, len(whole.history.epochs) - 1))
    resumed = trainer(optimizer=RULE)
    resumed.load(tmp_path / f"{done}")
    fit(resumed, epochs - done, made(names), name)
    assert_same(whole, resumed)


@settings(max_examples=10)
@given(names=chosen, parts=st.lists(st.integers(1, 3), min_size=2, max_size=3))
def test_fits_one_after_the_other_are_one_fit(
    names: list[tuple[str, int]], parts: list[int], tmp_path: Path
) -> None:
    """With and without a checkpoint in between; going back to the best epoch is for the end."""

    def all_made() -> list[Any]:
        return made(names, EarlyStopping(), ReduceOnPlateau())

    whole = fit(trainer(optimizer=RULE), sum(parts), all_made())
    going_on, loaded = trainer(optimizer=RULE), trainer(optimizer=RULE)
    kept = all_made()
    for epochs in parts:
        if going_on.history.stopped:
            break
        fit(going_on, epochs, kept)
        fit(loaded, epochs, all_made())
        loaded.save(tmp_path / "run")
        loaded = trainer(optimizer=RULE)
        loaded.load(tmp_path / "run")
    loaded.history.stopped = going_on.history.stopped  # not part of a checkpoint
    assert_same(whole, going_on)
    assert_same(whole, loaded)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_fit_interrupted_in_a_callback_goes_on_as_if_it_had_not_been(
    place: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By Ctrl-C or an error in the first epoch, in a later one, and in the one that stops it.

    The callback that is interrupted has decided already, and so have those before it.
    """

    def callbacks() -> list[Any]:
        stopping = EarlyStopping("training loss", 2)
        return [ReduceOnPlateau(patience=1, factor=0.9), stopping, Memory()]

    rule, given = optim.SGD(lr=0.3, momentum=0.9), callbacks()
    whole = fit(trainer(optimizer=rule), 12, given)
    assert (whole.epoch, given[1].best_epoch) == (6, 3)
    for epoch in (0, 4, 5):
        interrupted, pressed, seen = callbacks(), (epoch + place) % 2 == 0, list[int]()

        def cut(
            run: Run,
            last: int = epoch,
            pressed: bool = pressed,
            decide: Callable[[Run], None] = interrupted[place].epoch,
        ) -> None:
            decide(run)
            if run.last.epoch == last and pressed:
                signal.raise_signal(signal.SIGINT)
            if run.last.epoch == last:
                raise ZeroDivisionError("mine")

        monkeypatch.setattr(interrupted[place], "epoch", cut)
        here, loaded = trainer(optimizer=rule), trainer(optimizer=rule)
        with pytest.raises(KeyboardInterrupt if pressed else ZeroDivisionError):
            fit(here, 12, [Checkpoints(tmp_path / "run"), *interrupted])
        loaded.load(tmp_path / "run")
        for each in (here, loaded):
            assert (each.epoch, each.history.stopped) == (epoch + 1, "")
            after = [*callbacks(), lambda run, seen=seen: seen.append(run.last.epoch)]
            fit(each, 12 - each.epoch, after)
            assert_same(whole, each)
        # The function has not been there before, so the epoch that was cut is not shown to it.
        assert seen == 2 * [*range(epoch + 1, whole.epoch)]


def test_the_issues_plateau_goes_on_after_load(tmp_path: Path) -> None:
    """Of six epochs that bring nothing better, each second one halves the rate; it was 0.0625."""

    def plateau() -> ReduceOnPlateau:
        return ReduceOnPlateau("training loss", patience=2, least=100, factor=0.5)

    half = fit(trainer(), 4, [plateau()])  # the first epoch is better than none
    half.save(tmp_path / "run")
    loaded = trainer()
    loaded.load(tmp_path / "run")
    fit(loaded, 7, [plateau()])
    assert loaded.rate == fit(trainer(), 11, [plateau()]).rate == 0.5**5


def test_a_stopped_or_restored_fit_is_not_continued(tmp_path: Path) -> None:
    """Neither by the trainer nor by a checkpoint of its last epoch."""

    def stopping() -> EarlyStopping:
        return EarlyStopping("training loss", 2, least=100, restore_best=False)

    stopped = fit(trainer(), 9, [stopping(), Memory(), Checkpoints(tmp_path / "run")])
    assert (stopped.epoch, stopped.callback_states) == (3, {})
    loaded = trainer()
    loaded.load(tmp_path / "run")
    for each in (stopped, loaded):
        memory = Memory()
        fit(each, 9, [stopping(), memory])
        assert (each.epoch, len(memory.losses)) == (6, 3)

    restored = fit(trainer(), 2, [Memory(), lambda run: run.restore(run.state.copy())])
    assert restored.callback_states == {}
    last = fit(trainer(), 2, [EarlyStopping("training loss", 2, least=100)])
    assert list(last.callback_states) == ["minidl.train.callbacks.EarlyStopping 1"]


def test_each_callback_takes_the_state_of_its_class_and_place_in_it() -> None:
    def pair(*figures: str) -> list[Any]:
        return [EarlyStopping(f"{figure} loss", 3, restore_best=False) for figure in figures]

    one = fit(trainer(), 2, [lambda run: None, *pair("training", "validation")])
    first, second = (dict(state) for state in one.callback_states.values())
    callbacks = pair("training", "validation")
    fit(one, 1, [callbacks[0], Memory(), callbacks[1]])
    assert callbacks[0].best >= float(first["best"])
    assert callbacks[1].best >= float(second["best"])

    # What was best of another figure says nothing: these begin anew.
    others = pair("validation", "training")
    fit(one, 1, others)
    assert [each.waited for each in others] == [0, 0]
    assert others[0].best == -(one.history.last().validation or {})["loss"]


@pytest.mark.parametrize("callbacks", [0, 1, 2])
def test_a_fit_that_fails_before_its_first_epoch_ends_forgets_nothing(
    callbacks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its callbacks have begun, or are others, or none."""

    class Unready(Callback):
        def begin(self) -> None:
            raise ZeroDivisionError

    one = fit(trainer(), 2, [Memory()])
    before = dict(next(iter(one.callback_states.values())))
    memory = Memory()
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_prepare", lambda fit: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fit(one, 1, [memory, Unready()][:callbacks])
    after = next(iter(one.callback_states.values()))
    assert after["losses"] == before["losses"]
    fit(one, 1, [memory])
    assert len(memory.losses) == 3


def test_states_can_be_cleared() -> None:
    one = fit(trainer(), 2, [Memory()])
    one.callback_states.clear()
    again = Memory()
    fit(one, 1, [again])
    assert len(again.losses) == 1


@pytest.mark.parametrize("state", [{"x": {1, 2}}, {"x": float("nan")}, {"x": np.zeros(2, "c8")}, 3])
def test_a_state_that_cannot_be_saved_is_named(state: Any, tmp_path: Path) -> None:
    class Odd(Callback):
        def state_dict(self) -> Any:
            return state

    with pytest.raises(InputError, match=r"Odd 1.*(cannot be saved|must be a dict)"):
        fit(trainer(), 1, [Odd(), Checkpoints(tmp_path / "run")])


def test_a_state_that_is_not_understood_is_named(tmp_path: Path) -> None:
    one = fit(trainer(), 1, [Memory()])
    key = next(iter(one.callback_states))
    one.callback_states[key] = {"losses": [1.0]}
    before = State.of(one)
    with pytest.raises(CheckpointError, match=r"Memory 1 cannot take up its saved state .*'sums'"):
        fit(one, 1, [Memory()])
    before.assert_equals(State.of(one))


def test_a_state_larger_than_a_load_would_take_is_not_saved(tmp_path: Path) -> None:
    class Large(Callback):
        def state_dict(self) -> Any:
            return {"all": np.zeros(1 << 20)}

    with pytest.raises(InputError, match=r"too large to be saved: 8,388,608 bytes"):
        fit(trainer(), 1, [Large(), Checkpoints(tmp_path / "run")])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_what_one_callback_wants_saved_is_saved_though_another_raises(
    name: str, tmp_path: Path
) -> None:
    def fail(run: Run) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        fit(trainer(), 2, [Checkpoints(tmp_path / "run"), fail], name)
    loaded = trainer()
    loaded.load(tmp_path / "run")
    State.of(loaded).assert_equals(State.of(fit(trainer(), 1, [], name)))
