"""Schedules: their corners, what they mean to an update rule, and what they refuse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import optim
from minidl.errors import InputError

rates, steps = st.floats(1e-5, 10), st.integers(1, 1000)
EVERY = [
    optim.Constant(0.1),
    optim.StepDecay(0.1, 3),
    optim.Exponential(0.1, 0.9),
    optim.Cosine(0.1, 5),
    optim.Polynomial(0.1, 5, power=2),
    optim.LinearWarmup(0.1, 4),
    optim.LinearScaling(1024, 4),
    optim.Composed((optim.LinearWarmup(0.1, 2), optim.Cosine(0.1, 3)), (2,)),
]


@given(lr=rates, end=st.floats(0, 1), length=steps, later=st.integers(0, 99))
def test_falling_schedules_go_from_lr_to_their_end_and_stay(lr, end, length, later):
    for schedule in (optim.Cosine(lr, length, end), optim.Polynomial(lr, length, 1.5, end)):
        assert schedule(0) == pytest.approx(lr)
        assert schedule(length + later) == end
        values = [schedule(step) for step in range(length + 1)]
        assert (np.sign(np.diff(values)) * np.sign(end - lr) >= 0).all()
    assert optim.Cosine(lr, 2 * length, end)(length) == pytest.approx((lr + end) / 2)
    line = optim.Polynomial(lr, 2 * length, end=end)
    assert line(length) == pytest.approx((lr + end) / 2)
    assert optim.Polynomial(lr, 2 * length, power=3)(length) == pytest.approx(lr / 8)


@given(lr=rates, factor=st.floats(0.1, 1.2), every=st.integers(1, 9), step=st.integers(0, 99))
def test_decays_multiply(lr, factor, every, step):
    assert optim.Constant(lr)(step) == lr
    falling = optim.StepDecay(lr, every, factor)
    assert falling(0) == falling(every - 1) == pytest.approx(lr)
    assert falling(step + every) == pytest.approx(factor * falling(step))
    smooth = optim.Exponential(lr, factor)
    assert smooth(0) == lr
    assert smooth(step + 1) == pytest.approx(factor * smooth(step))


@given(lr=rates, start=st.floats(0, 1), length=steps)
def test_a_warm_up_is_a_straight_line(lr, start, length):
    rise = optim.LinearWarmup(lr, length, start)
    assert rise(0) == start
    assert rise(length) == rise(length + 7) == lr
    np.testing.assert_allclose(
        [rise(step) for step in range(length + 1)],
        np.linspace(start, lr, length + 1),
        rtol=1e-9,
        atol=1e-12,
    )


@given(workers=st.integers(1, 64), each=st.integers(1, 64), warm=st.integers(0, 50))
def test_the_linear_scaling_rule_is_that_of_the_paper(workers, each, warm):
    rule = optim.LinearScaling(workers * each, warm)
    assert rule(warm) == rule(warm + 99) == rule.peak == pytest.approx(0.1 * workers * each / 256)
    if warm:
        assert rule(0) == 0.1
    assert optim.LinearScaling(256, warm)(warm // 2) == pytest.approx(0.1)


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), step=st.integers(0, 40))
def test_composed_parts_follow_each_other_and_count_from_their_own_start(lengths, step):
    parts = [optim.Exponential(1.0 + number, 0.5) for number in range(len(lengths))]
    ends = np.cumsum(lengths)[:-1].tolist()
    values = [
        part(own)
        for part, length in zip(parts, [*lengths[:-1], 99], strict=True)
        for own in range(length)
    ]
    assert optim.Composed(parts, ends)(step) == values[step]


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_a_rule_takes_each_steps_rate_by_its_number(schedule):
    """So it does not matter who takes a step, nor what came before it."""
    for step in range(9):
        for make in (optim.SGD, optim.Adam, optim.AdamW, optim.Adagrad, optim.RMSprop, optim.LARS):
            results = []
            for lr in (schedule, schedule(step) or 1e-300):
                rule, w = make(lr=lr), np.array([1.0, -2.0])
                rule.step(w, np.array([0.3, 0.4]), {n: np.zeros(2) for n in rule.slots}, step)
                results.append(w)
            np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_settings_make_a_schedule(schedule):
    """A checkpoint knows an optimizer, and so its schedule, by what it is written as."""
    assert eval(repr(schedule), vars(optim)) == schedule
    assert repr(schedule) in repr(optim.SGD(schedule))


def test_lists_and_tuples_make_the_same_schedule():
    parts = optim.Constant(1.0), optim.Constant(0.1)
    assert repr(optim.Composed(list(parts), [3])) == repr(optim.Composed(parts, (3,)))


def test_a_schedule_of_ones_own():
    @dataclass(frozen=True)
    class Backwards(optim.Schedule):
        def __call__(self, step):
            return 1.0 - step

    w = np.zeros(1)
    optim.SGD(Backwards()).step(w, np.ones(1), {}, 0)
    assert w == -1.0
    with pytest.raises(InputError, match=r"at least 0 and finite; .*Backwards\(\) gives -1.0 at s"):
        optim.SGD(Backwards()).step(w, np.ones(1), {}, 2)
    with pytest.raises(TypeError, match="defines no __call__"):
        optim.Schedule()(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.Constant(0), "Constant: lr must be greater than 0 and finite, not 0"),
        (lambda: optim.Constant("high"), "not 'high'"),
        (lambda: optim.StepDecay(-1, 3), "StepDecay: lr must be greater than 0"),
        (lambda: optim.StepDecay(1, 0), "StepDecay: every must be a whole number of at least 1"),
        (lambda: optim.StepDecay(1, 3, 0), "StepDecay: factor must be greater than 0"),
        (lambda: optim.Exponential(0, 1), "Exponential: lr"),
        (lambda: optim.Exponential(1, float("nan")), "Exponential: factor"),
        (lambda: optim.Cosine(0, 1), "Cosine: lr"),
        (lambda: optim.Cosine(1, 2.5), "Cosine: steps must be a whole number"),
        (lambda: optim.Cosine(1, 2, -1), "Cosine: end must be at least 0"),
        (lambda: optim.Polynomial(0, 1), "Polynomial: lr"),
        (lambda: optim.Polynomial(1, 0), "Polynomial: steps"),
        (lambda: optim.Polynomial(1, 1, 0), "Polynomial: power"),
        (lambda: optim.Polynomial(1, 1, 1, -1), "Polynomial: end"),
        (lambda: optim.LinearWarmup(0, 1), "LinearWarmup: lr"),
        (lambda: optim.LinearWarmup(1, 0), "LinearWarmup: steps"),
        (lambda: optim.LinearWarmup(1, 1, -1), "LinearWarmup: start"),
        (lambda: optim.LinearScaling(0), "LinearScaling: batch_size"),
        (lambda: optim.LinearScaling(1, -1), "LinearScaling: warmup_steps"),
        (lambda: optim.LinearScaling(1, 1, 0), "LinearScaling: base"),
        (lambda: optim.LinearScaling(1, 1, 1, 0), "LinearScaling: reference"),
        (lambda: optim.Composed((), ()), "there must be a part"),
        (lambda: optim.Composed((EVERY[0],), (1,)), "1 parts need 0 milestones"),
        (lambda: optim.Composed((0.1,), ()), "each part must be a Schedule, not 0.1"),
        (lambda: optim.Composed(EVERY[0], ()), "parts must be a tuple"),
        (lambda: optim.Composed(EVERY[:3], (2, 2)), "a milestone must be .* at least 3, not 2"),
        (lambda: optim.Composed(EVERY[:2], (0,)), "a milestone must be .* at least 1, not 0"),
        (lambda: optim.SGD(lambda step: 0.1), "lr must be greater than 0 and finite, not <func"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("schedule", EVERY, ids=lambda schedule: type(schedule).__name__)
def test_a_schedule_draws_itself(schedule, tmp_path):
    path = tmp_path / "rates.png"
    (axes,) = schedule.plot(steps=9, path=path).axes
    (line,) = axes.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), range(9))
    np.testing.assert_array_equal(line.get_ydata(), [schedule(step) for step in range(9)])
    assert line.get_label() == type(schedule).__name__
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="nothing to draw: 1 schedules, 0 steps"):
        schedule.plot(0)
