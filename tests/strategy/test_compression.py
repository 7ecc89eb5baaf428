"""What compression keeps: ranks that agree to the last bit, a bound, bytes, in time everything."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from networks import Case, assert_same_weights, dense_cases

import minidl as dl
from minidl import data, models, nn, optim, plans, rng, strategy, tasks
from minidl.errors import InputError, NonFiniteError
from minidl.plans import ALL_REDUCES
from minidl.runtime import Processes, Virtual
from minidl.runtime.requests import RankContext
from minidl.strategy import Float16, TopK
from minidl.strategy.compression import half, largest, single

U = 2.0**-11
DTYPES = st.sampled_from([np.float32, np.float64])
SHARES = st.sampled_from([0.01, 0.3, 0.5, 1.0])


@st.composite
def vectors(draw: st.DrawFn, whole: bool = False, rounds: int = 1) -> np.ndarray:
    """The gradients of 1 to 6 ranks, in so many rounds; of any length."""
    shape = rounds, draw(st.integers(1, 6)), draw(st.integers(0, 19))
    limit = 100 if whole else 1000
    numbers = st.integers(-limit, limit) if whole else st.floats(-limit, limit, width=32)
    return draw(arrays(np.float64, shape, elements=numbers)).astype(draw(DTYPES))


def program(
    how: strategy.Compression,
    plan: plans.Collective,
    mine: np.ndarray,
    cuts: tuple[int, ...],
    context: RankContext,
) -> Any:
    """All-reduce one rank's gradients, round by round, slice by slice."""
    compressor = how.start({"w": slice(0, cuts[-1])}, mine.dtype)
    held, kept = np.array(mine), np.zeros(mine.shape)
    for number, vector in enumerate(held):
        for first, stop in pairwise(cuts):
            part = vector[first:stop]
            yield from compressor.all_reduce(plan, context.rank, part, "sum", first)
        kept[number] = getattr(compressor, "residual", 0)
    return held, kept


@st.composite
def tame_cases(draw: st.DrawFn) -> Case:
    """Networks with batch norm whose gradients fit float16, which not all of `dense_cases` do."""
    numbers = rng.stream(draw(st.integers(0, 99)), "inputs")
    samples, width = draw(st.integers(4, 13)), draw(st.integers(1, 5))
    layers = (nn.Linear(width), nn.BatchNorm(), nn.Tanh(), nn.Linear(2))
    dataset = data.Dataset(numbers.normal(size=(samples, 3)), np.arange(samples) % 2)
    return Case(layers, dataset, nn.CrossEntropy(), optim.SGD(0.1), draw(st.integers(4, 9)), 1)


def reduced(
    how: strategy.Compression,
    plan: plans.Collective,
    gradients: np.ndarray,
    cuts: tuple[int, ...] = (),
    runtime: Virtual | None = None,
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """What ranks hold after each round, and what they keep back, (rounds, P, N); bytes sent."""
    cuts = (0, *cuts, gradients.shape[2])
    outcome = (runtime or Virtual()).launch(
        [partial(program, how, plan, mine, cuts) for mine in np.moveaxis(gradients, 1, 0)],
        shared={},
        channels=sorted(how.channels(plan)),
        listen=lambda rank, event: None,
    )
    held, kept = (np.stack(each, axis=1) for each in zip(*outcome.results, strict=True))
    return held, kept, [t["sum"].bytes if t else 0 for t in outcome.traffic]


@pytest.mark.parametrize("algorithm", sorted(ALL_REDUCES))
@settings(max_examples=15)
@given(gradients=vectors())
def test_float16_on_every_rank_the_same_within_its_bound(
    algorithm: str, gradients: np.ndarray
) -> None:
    _, size, length = gradients.shape
    plan = plans.all_reduce(size, algorithm)
    held, _, sent = reduced(Float16(), plan, gradients)
    assert (held == held[:, :1]).all()
    assert (held == held.astype(np.float16)).all()
    exact, magnitude = (v.astype(np.float64)[0].sum(axis=0) for v in (gradients, abs(gradients)))
    growth = (1 + U + np.finfo(gradients.dtype).eps) ** size
    assert (abs(held[0, 0] - exact) <= (growth - 1) * magnitude + growth * size * 2.0**-25).all()
    assert tuple(sent) == plans.bytes_sent(plan, length, 2)


@given(gradients=vectors().filter(lambda drawn: drawn.shape[1] == 2))
def test_float16_where_both_add_what_the_other_sends(gradients: np.ndarray) -> None:
    """A plan that every real channel has room for; the sum is made twice, of the same numbers."""
    programs = [((plans.Send(peer, 0),), (plans.Receive(peer, 0, True),)) for peer in (1, 0)]
    plan = plans.Collective("swap", tuple(programs), 1)
    held, _, _ = reduced(Float16(), plan, gradients, runtime=Virtual("unlimited"))
    assert (held == held[:, :1]).all()


@given(gradients=vectors(whole=True), algorithm=st.sampled_from(sorted(ALL_REDUCES)))
def test_float16_is_exact_for_small_whole_numbers(gradients: np.ndarray, algorithm: str) -> None:
    held, _, _ = reduced(Float16(), plans.all_reduce(gradients.shape[1], algorithm), gradients)
    assert (held == gradients.sum(axis=1, keepdims=True)).all()


@given(dtype=DTYPES, data=st.data())
def test_half_is_numpys_to_the_last_bit_without_its_slow_way(
    dtype: type[np.floating], data: st.DataObject
) -> None:
    """NumPy takes long where it has to say that a number is rounded below the least normal one."""
    width = 8 * np.dtype(dtype).itemsize
    numbers = st.floats(width=width, allow_nan=False) | st.floats(-(2**-13), 2**-13, width=width)
    vector = data.draw(arrays(dtype, st.integers(0, 30), elements=numbers))
    with np.errstate(over="ignore", under="ignore"):
        expected = vector.astype(np.float16)
    with np.errstate(over="ignore", under="raise"):
        assert half(vector).tobytes() == expected.tobytes()


def test_single_is_numpys_for_every_number_of_float16() -> None:
    numbers = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    found, expected = single(numbers[::-3]), numbers[::-3].astype(np.float32)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype and (np.signbit(found) == np.signbit(expected)).all()


@given(vector=arrays(np.float64, st.integers(0, 30), elements=st.integers(-4, 4)), data=st.data())
def test_largest_takes_the_first_of_equal_ones(vector: np.ndarray, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, vector.size))
    expected = np.sort(np.argsort(-abs(vector), kind="stable")[:count])
    assert (largest(vector, count) == expected).all()


@given(gradients=vectors(rounds=3), share=SHARES)
def test_what_top_k_does_not_send_it_keeps(gradients: np.ndarray, share: float) -> None:
    """Sum over ranks of what was sent and is kept = gradient + what had been kept, bit for bit."""
    _, size, length = gradients.shape
    how = TopK(share)
    held, kept, sent = reduced(how, plans.all_reduce(size), gradients)
    assert (held == held[:, :1]).all()
    before = np.zeros_like(gradients[0])
    for number in range(len(gradients)):
        wanted, after = before + gradients[number], kept[number].astype(gradients.dtype)
        went = np.where(after == wanted, 0, wanted)
        assert (went + after == wanted).all()
        assert ((went == 0) | (after == 0)).all()
        assert (np.count_nonzero(went, axis=1) <= how.count(length)).all()
        smallest = np.where(went == 0, np.inf, abs(went)).min(axis=1, initial=np.inf)
        assert (smallest[:, None] >= abs(after)).all()
        total = np.zeros_like(went[0])
        for rank in range(size):
            total += went[rank]
        assert (held[number, 0] == total).all()
        before = after
    entry = 4 + gradients.itemsize
    assert sent == [3 * (size - 1) * how.count(length) * entry] * size


@given(gradients=vectors(whole=True), share=SHARES)
def test_in_time_nothing_is_lost(gradients: np.ndarray, share: float) -> None:
    _, size, length = gradients.shape
    rest = np.zeros((length, size, length), gradients.dtype)
    held, kept, _ = reduced(TopK(share), plans.all_reduce(size), np.concatenate((gradients, rest)))
    assert not kept[-1].any()
    assert (held[:, 0].sum(axis=0) == gradients[0].sum(axis=0)).all()


@given(gradients=vectors(whole=True), feedback=st.booleans())
def test_all_of_it_is_the_exact_sum(gradients: np.ndarray, feedback: bool) -> None:
    held, kept, _ = reduced(TopK(1, feedback), plans.all_reduce(gradients.shape[1]), gradients)
    assert (held == gradients.sum(axis=1, keepdims=True)).all()
    assert not kept.any()


@settings(max_examples=10)
@given(gradients=vectors(rounds=2), share=SHARES, data=st.data())
def test_slices_of_a_gradient_do_not_know_of_each_other(
    gradients: np.ndarray, share: float, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, gradients.shape[2]))
    plan = plans.all_reduce(gradients.shape[1])
    for how in (TopK(share), Float16()):
        together = reduced(how, plan, gradients, (cut,))
        left, right = (reduced(how, plan, g) for g in np.split(gradients, [cut], axis=2))
        for number in range(2):
            apart = np.concatenate((left[number], right[number]), axis=2)
            assert (together[number] == apart).all()


@pytest.mark.parametrize(
    ("how", "value", "message"),
    [
        (Float16(), 4e4, r"gradient of w is 80000, which does not fit float16 \(at most"),
        (Float16(), np.nan, "gradient of w is nan, which does not fit"),
        (TopK(0.5), np.inf, "gradient of w is inf, of which no largest"),
    ],
)
def test_what_cannot_be_sent_is_one_clear_error(
    how: strategy.Compression, value: float, message: str
) -> None:
    gradients = np.ones((1, 2, 5), np.float32)
    gradients[0, :, 3] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NonFiniteError, match=message):
            reduced(how, plans.all_reduce(2), gradients)


@settings(max_examples=8)
@given(case=dense_cases(), workers=st.integers(1, 4))
def test_all_entries_sent_equal_serial(case: Case, workers: int) -> None:
    how = strategy.AllReduce(workers, compression=TopK(share=1), runtime=Virtual())
    assert_same_weights(case.trained(strategy.Serial()), case.trained(how))


@settings(max_examples=10)
@given(
    case=tame_cases(),
    workers=st.integers(1, 4),
    how=st.sampled_from([Float16(), TopK(0.1), TopK(0.5)]),
)
def test_bytes_are_the_formulas(case: Case, workers: int, how: strategy.Compression) -> None:
    chosen = strategy.AllReduce(workers, compression=how, runtime=Virtual())
    trainer = case.trained(chosen)
    expected = trainer.expected_bytes(case.dataset, 2, case.batch_size, chosen)
    steps = len(trainer.history.losses)
    for operation, each in expected.items():
        counted = trainer.history.bytes_sent([operation])
        exact = isinstance(how, TopK) and operation == "gradients"
        assert counted == pytest.approx(each, abs=0 if exact else 8 * 4 * steps)
        assert sum(counted) == pytest.approx(sum(each))
    assert sum(trainer.history.bytes_sent()) == sum(trainer.history.bytes_sent([*expected]))


@pytest.mark.parametrize("how", [Float16(), TopK(0.1)])
@settings(max_examples=5)
@given(case=tame_cases())
def test_running_means_are_not_compressed(how: strategy.Compression, case: Case) -> None:
    """With steps of no length the means follow from the data alone."""
    still = replace(case, optimizer=optim.SGD(1e-30))
    exact = still.trained(strategy.AllReduce(3, runtime=Virtual()))
    found = still.trained(strategy.AllReduce(3, compression=how, runtime=Virtual()))
    assert_same_weights(exact, found)


def trained_gan(compression: strategy.Compression | None) -> dl.Trainer:
    """A GAN of small networks with batch norm after 16 updates of both."""
    generator = nn.Sequential(nn.Linear(4), nn.BatchNorm(), nn.Tanh(), nn.Linear(3))
    model = models.GAN(generator, nn.Sequential(nn.Linear(5), nn.Tanh(), nn.Linear(1)), latent=2)
    samples = data.Dataset(rng.stream(0, "samples").normal(1, 0.3, (24, 3)), np.zeros(24))
    trainer = dl.Trainer(model, tasks.Adversarial(), optim.SGD(0.05), seed=0, dtype="float64")
    how = strategy.AllReduce(2, compression=compression, runtime=Virtual())
    trainer.fit(samples, epochs=4, batch_size=6, strategy=how)
    assert sum(trainer.history.bytes_sent()) == sum(
        map(sum, trainer.expected_bytes(samples, 4, 6, how).values())
    )
    return trainer


def test_the_players_of_a_gan_exchange_their_own_slices() -> None:
    """And running means lie apart from what is learnt."""
    assert_same_weights(trained_gan(None), trained_gan(TopK(1)))
    trained_gan(TopK(0.2))
    trained_gan(Float16())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", [Float16(), TopK(0.2)])
def test_on_real_processes(how: strategy.Compression) -> None:
    dataset = data.Dataset(rng.stream(0, "x").normal(size=(9, 3)), np.arange(9) % 2)
    layers = (nn.Linear(40), nn.BatchNorm(), nn.Tanh(), nn.Linear(2))
    case = Case(layers, dataset, nn.CrossEntropy(), optim.Adam(0.01), 5, seed=1)
    virtual, real = (
        case.trained(strategy.AllReduce(2, compression=how, runtime=runtime))
        for runtime in (Virtual(), Processes(deadline=30))
    )
    for name, value in virtual.weights().items():
        assert (real.weights()[name] == value).all()


def after_training(how: strategy.Compression | None) -> np.ndarray:
    """The weights, found from two samples on a worker each, whose larger entries cancel."""
    x, y = np.array([[3.0, 1.0], [-3.0, 1.0]]), np.array([[1.0], [1.0]])
    model = nn.Sequential(nn.Linear(1, bias=False, weight_init=nn.init.zeros))
    trainer = dl.Trainer(model, nn.MSE(), optim.SGD(0.02), seed=0, dtype="float64")
    chosen = strategy.AllReduce(2, compression=how, runtime=Virtual())
    trainer.fit(data.Dataset(x, y), epochs=300, batch_size=2, strategy=chosen)
    return next(iter(trainer.weights().values())).ravel()


def test_without_feedback_it_never_arrives() -> None:
    """The solution is (0, 1). Both send the entry for 0, and these sum to nothing."""
    assert (after_training(TopK(0.5, feedback=False)) == 0).all()
    np.testing.assert_allclose(after_training(TopK(0.5)), [0, 1], atol=0.02)
    np.testing.assert_allclose(after_training(None), [0, 1], atol=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TopK(0), "share must be above 0 and at most 1, not 0"),
        (lambda: TopK(1.5), "not 1.5"),
        (lambda: TopK(True), "not True"),
        (lambda: TopK("0.1"), "not '0.1'"),  # type: ignore[arg-type]
        (lambda: strategy.AllReduce(2, compression="top"), "TopK.share. or None, not 'top'"),  # type: ignore[arg-type]
        (lambda: strategy.AllReduce(2, "tree", compression=TopK()), "around a ring.*not 'tree'"),
        (
            lambda: strategy.AllReduce(2, compression=Float16()).in_virtual_time(),
            "compression must be None",
        ),
    ],
)
def test_bad_settings_are_one_clear_error(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_the_formula_says_what_is_sent() -> None:
    half, few = (strategy.AllReduce(4, compression=how).formula for how in (Float16(), TopK(0.1)))
    assert half == "2N(P−1)/P in float16 from each of P workers"
    assert few == "(P−1)k places and values, k = 0.1N, from each of P workers"


@pytest.mark.filterwarnings("ignore:mixed precision computes")
def test_mixed_precision_is_refused_before_any_step() -> None:
    train, _ = data.digits()
    trainer = dl.Trainer(
        models.mlp([4]), nn.CrossEntropy(), optim.SGD(0.1), precision=optim.MixedPrecision()
    )
    how = strategy.AllReduce(2, compression=Float16(), runtime=Virtual())
    with pytest.raises(InputError, match="not of mixed precision"):
        trainer.fit(train, epochs=1, batch_size=64, strategy=how)
