"""Laws of message passing, in one process and in many: sums, orders, bytes, fingerprints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from launching import RUNTIMES, SMALL_SLOTS, Program, each_runtime, launch, without_small_slots

from minidl import plans
from minidl.errors import (
    DeadlockError,
    InputError,
    MessageMismatchError,
    NonFiniteError,
    PlanError,
    WorkerError,
)
from minidl.plans import Collective
from minidl.runtime import (
    Exchange,
    Incoming,
    Outcome,
    Outgoing,
    Processes,
    RankContext,
    ReceiveAny,
    Report,
    Runtime,
    Traffic,
    Virtual,
    collective,
)

each_plan = pytest.mark.parametrize(
    "make", [plans.ring_all_reduce, plans.server_reduce], ids=["ring", "server"]
)


def all_reduce(runtime: Runtime, plan: Collective, *vectors: np.ndarray) -> Outcome:
    """Of each of these, one after the other; they hold a row for each rank."""

    def make(context: RankContext) -> Program:
        own = [rows[context.rank].copy() for rows in vectors]
        for vector in own:
            yield from collective(plan, context.rank, vector, "sum")
        return own

    return runtime.launch(
        [make] * plan.size,
        shared={},
        channels=plan.channels(),
        listen=lambda rank, event: None,
    )


def check_all_reduce(runtime: Runtime, plan: Collective, dtype: str, *lengths: int) -> None:
    rng = np.random.default_rng(0)
    vectors = [rng.integers(-99, 99, (plan.size, n)).astype(dtype) for n in lengths]
    outcome = all_reduce(runtime, plan, *vectors)
    for result in outcome.results:
        for found, rows in zip(result, vectors, strict=True):
            # Whole numbers this small are exact in every type, so any order of adding gives this.
            np.testing.assert_array_equal(found, rows.sum(axis=0, dtype=dtype))
    sent = [traffic.get("sum", Traffic()).bytes for traffic in outcome.traffic]
    expected = [plans.bytes_sent(plan, n, np.dtype(dtype).itemsize) for n in lengths]
    assert sent == np.sum(expected, axis=0).tolist()


@given(
    make=st.sampled_from([plans.ring_all_reduce, plans.server_reduce]),
    size=st.integers(1, 6),
    length=st.integers(0, 40),
    dtype=st.sampled_from(["f4", "f8", "i2", "i8", "c16"]),
    buffering=st.sampled_from(["none", "unlimited"]),
    seed=st.none() | st.integers(0, 99),
)
# Python's pickler failed.
@example(make=plans.ring_all_reduce, size=1, length=0, dtype="f4", buffering="none", seed=None)
def test_all_reduce_is_the_sum_in_any_schedule(
    make: Callable[[int], Collective],
    size: int,
    length: int,
    dtype: str,
    buffering: Any,
    seed: int | None,
) -> None:
    check_all_reduce(Virtual(buffering, seed), make(size), dtype, length)


@each_plan
@pytest.mark.parametrize("size", [1, 2, 4])
def test_all_reduce_between_processes(make: Callable[[int], Collective], size: int) -> None:
    check_all_reduce(SMALL_SLOTS, make(size), "f8", 0, 1, 7, 1001)


@each_plan
def test_large_vectors_between_processes(make: Callable[[int], Collective]) -> None:
    check_all_reduce(Processes(deadline=10), make(3), "f4", 1_000_003)


@each_runtime
def test_neighbours_swap_more_than_fits_into_all_slots(runtime: Runtime) -> None:
    def make(context: RankContext) -> Program:
        peer = 1 - context.rank
        mine, other = np.full(5001, context.rank), np.zeros(5001, int)
        yield Exchange((Outgoing(peer, mine, "swap"), Incoming(peer, other, "swap")))
        return other

    zeros, ones = launch(runtime, make, make).results[::-1]
    assert (zeros == 0).all() and (ones == 1).all()


@each_runtime
def test_several_messages_to_one_peer_keep_their_order(runtime: Runtime) -> None:
    lengths = (100, 0, 3, 50, 200)

    def give(context: RankContext) -> Program:
        for k in range(40):
            parts = [np.full(n, n + k, np.int32) for n in lengths]
            yield Exchange(tuple(Outgoing(1, part, "parts") for part in parts))

    def take(context: RankContext) -> Program:
        right = True
        for k in range(40):
            parts = [np.zeros(n, np.int32) for n in lengths]
            yield Exchange(tuple(Incoming(0, part, "parts") for part in parts))
            right &= all((part == len(part) + k).all() for part in parts)
        return right

    assert launch(runtime, give, take).results[1]


@each_runtime
def test_receive_any_takes_each_message_once(runtime: Runtime) -> None:
    def server(context: RankContext) -> Program:
        arrays = {peer: np.zeros(40) for peer in (1, 2, 3)}
        seen = []
        for _ in range(6):
            peer = yield ReceiveAny(arrays, "gradient")
            seen.append((peer, set(arrays[peer])))
        return seen

    def learner(context: RankContext) -> Program:
        for k in range(2):
            yield Exchange((Outgoing(0, np.full(40, 10.0 * context.rank + k), "gradient"),))

    seen = launch(runtime, server, learner, learner, learner).results[0]
    for peer in (1, 2, 3):
        assert [v for p, v in seen if p == peer] == [{10.0 * peer}, {10.0 * peer + 1}]


@without_small_slots
def test_reports_arrive_in_order_as_they_were_when_made(runtime: Runtime) -> None:
    def make(context: RankContext) -> Program:
        state = [0]
        for k in range(50):
            state[0] = k
            assert (yield Report(state)) is None

    events: list[tuple[int, Any]] = []
    launch(runtime, make, make, listen=lambda rank, event: events.append((rank, event)))
    for rank in range(2):
        assert [event for r, event in events if r == rank] == [[k] for k in range(50)]


@without_small_slots
def test_a_rank_goes_on_when_its_report_has_been_heard(runtime: Runtime) -> None:
    """And every other rank's: what the caller wrote by then is what all ranks read."""

    def make(context: RankContext) -> Program:
        for k in range(20 + 3 * context.rank):  # the ranks that still run are enough
            yield Report("soon")
            yield Report(k, heard=True)
            context.shared["passed"][context.rank] = k + 1
            context.shared["read"][context.rank, k] = context.shared["count"][k]

    seen = []

    def listen(rank: int, event: Any) -> None:
        if event != "soon":
            shared["count"][event] += 1
            seen.append((event, int(shared["passed"][rank])))

    given = {"passed": np.zeros(2), "count": np.zeros(23), "read": np.zeros((2, 23))}
    with runtime.share(given) as shared:
        runtime.launch([make] * 2, shared=shared, channels=[], listen=listen)
        assert sorted(seen) == sorted(
            [(k, k) for k in range(20)] * 2 + [(20, 20), (21, 21), (22, 22)]
        )
        np.testing.assert_array_equal(shared["read"][0], [2] * 20 + [0] * 3)
        np.testing.assert_array_equal(shared["read"][1], [2] * 20 + [1] * 3)


@without_small_slots
def test_shared_arrays_are_seen_by_all(runtime: Runtime) -> None:
    def make(context: RankContext) -> Program:
        context.shared["out"][context.rank] = context.shared["in"].sum() + context.rank
        return
        yield

    given = {"in": np.arange(5.0), "out": np.zeros(3), "none": np.zeros((0, 4))}
    with runtime.share(given) as shared:
        for _ in range(2):
            runtime.launch([make] * 3, shared=shared, channels=[], listen=lambda r, e: None)
            np.testing.assert_array_equal(shared["out"], [10, 11, 12])
            shared["out"][...] = 0
    assert (given["out"] == 0).all()


@each_runtime
@pytest.mark.parametrize(
    ("operation", "array"),
    [("ring", np.zeros(4, np.float32)), ("ring", np.zeros(5)), ("other", np.zeros(4))],
    ids=["dtype", "shape", "operation"],
)
def test_a_wrong_message_is_an_error_that_names_both_sides(
    runtime: Runtime, operation: str, array: np.ndarray
) -> None:
    def give(context: RankContext) -> Program:
        yield Exchange((Outgoing(1, array, operation),))

    def take(context: RankContext) -> Program:
        yield Exchange((Incoming(0, np.zeros(4), "ring"),))

    with pytest.raises(MessageMismatchError) as caught:
        launch(runtime, give, take)
    text = str(caught.value)
    assert "rank 1 expects message 0 of 'ring', float64 of shape (4,) from rank 0" in text
    assert f"rank 0 sent message 0 of {operation!r}, {array.dtype} of shape {array.shape}" in text


@each_runtime
def test_a_part_is_expected_by_its_name_and_counted_with_the_others(runtime: Runtime) -> None:
    def give(context: RankContext) -> Program:
        for part in ("x/0", "x/1"):
            yield Exchange((Outgoing(1, np.ones(2), part),))

    def take(*parts: str) -> Callable[[RankContext], Program]:
        def program(context: RankContext) -> Program:
            for part in parts:
                yield Exchange((Incoming(0, np.zeros(2), part),))

        return program

    assert launch(runtime, give, take("x/0", "x/1")).traffic[0] == {"x": Traffic(32, 2)}
    with pytest.raises(MessageMismatchError, match="'x/1'.*'x/0'"):
        launch(runtime, give, take("x/1", "x/0"))


@each_runtime
def test_operations_with_long_names_differ_by_their_ends(runtime: Runtime) -> None:
    name = "operation " * 40

    def make(end: str) -> Callable[[RankContext], Program]:
        def program(context: RankContext) -> Program:
            x = np.zeros(1)
            way = Incoming(0, x, name + end) if context.rank else Outgoing(1, x, name + "a")
            yield Exchange((way,))

        return program

    launch(runtime, make("a"), make("a"))
    with pytest.raises(MessageMismatchError):
        launch(runtime, make("a"), make("b"))


@pytest.mark.parametrize("runtime", [RUNTIMES["buffered"], RUNTIMES["processes"]])
def test_a_message_that_nobody_receives_is_an_error(runtime: Runtime) -> None:
    def give(context: RankContext) -> Program:
        yield Exchange((Outgoing(1, np.zeros(2), "x"),))

    def leave(context: RankContext) -> Program:
        return
        yield

    with pytest.raises(MessageMismatchError, match="rank 0 sent 1 messages to rank 1"):
        launch(runtime, give, leave)


@without_small_slots
def test_a_deadlock_says_who_waits_for_whom(runtime: Runtime) -> None:
    def make(context: RankContext) -> Program:
        yield Exchange((Incoming((context.rank + 1) % 3, np.zeros(2), "ring"),))

    with pytest.raises(DeadlockError) as caught:
        launch(runtime, make, make, make, names=["a", "b", "c"])
    for waiting, other in ("ab", "bc", "ca"):
        assert any(
            f"{waiting}" in part and f"{other}" in part for part in str(caught.value).split("; ")
        )


@without_small_slots
def test_waiting_for_a_rank_that_has_finished_says_so(runtime: Runtime) -> None:
    def take(context: RankContext) -> Program:
        yield Exchange((Incoming(1, np.zeros(2), "x"),))

    def leave(context: RankContext) -> Program:
        return
        yield

    with pytest.raises((DeadlockError, WorkerError), match="rank 1.* has finished"):
        launch(runtime, take, leave)


@without_small_slots
def test_any_exception_reaches_the_caller_with_rank_and_traceback(runtime: Runtime) -> None:
    def good(context: RankContext) -> Program:
        yield Exchange((Incoming(1, np.zeros(1), "x"),))

    def bad(context: RankContext) -> Program:
        yield Report("begun")
        distinctive = {"a": 1}
        distinctive["b"]

    with pytest.raises(WorkerError) as caught:
        launch(runtime, good, bad, names=["server", "learner 1"])
    assert str(caught.value).startswith("learner 1")
    assert 'distinctive["b"]' in str(caught.value) and "KeyError" in str(caught.value)


@without_small_slots
def test_errors_raised_on_purpose_keep_their_class(runtime: Runtime) -> None:
    def bad(context: RankContext) -> Program:
        raise NonFiniteError("the loss is nan at step 3")
        yield

    with pytest.raises(NonFiniteError) as caught:
        launch(runtime, bad)
    assert str(caught.value) == "rank 0: the loss is nan at step 3"
    assert "in bad" in "".join(caught.value.__notes__)


@without_small_slots
def test_unfit_requests_are_refused(runtime: Runtime) -> None:
    def run(request: Callable[[], Any]) -> None:
        def make(context: RankContext) -> Program:
            if context.rank == 0:
                yield request()

        launch(runtime, make, make)

    with pytest.raises(InputError, match="contiguous"):
        run(lambda: Exchange((Outgoing(1, np.zeros((4, 4))[:, 0], "x"),)))
    with pytest.raises(InputError, match="writeable"):
        run(lambda: Exchange((Incoming(1, np.frombuffer(b"12345678"), "x"),)))
    with pytest.raises(InputError, match="numbers"):
        run(lambda: Exchange((Outgoing(1, np.array([None]), "x"),)))
    with pytest.raises(PlanError, match="not among the channels"):
        run(lambda: Exchange((Outgoing(7, np.zeros(1), "x"),)))
    with pytest.raises(PlanError, match="no peer"):
        run(lambda: ReceiveAny({}, "x"))
    with pytest.raises(PlanError, match="not int"):
        run(lambda: 3)

    def send_and_receive() -> Exchange:
        x = np.zeros(4)
        return Exchange((Outgoing(1, x, "x"), Incoming(1, x[2:], "x")))

    def receive_twice() -> Exchange:
        x = np.zeros(4)
        return Exchange((Incoming(1, x[:3], "x"), Incoming(1, x[2:], "y", reduce=True)))

    for overlapping in (send_and_receive, receive_twice):
        with pytest.raises(PlanError, match="the same memory twice"):
            run(overlapping)


@without_small_slots
def test_what_is_no_program_is_refused(runtime: Runtime) -> None:
    with pytest.raises(PlanError, match="generator"):
        launch(runtime, lambda context: 3)  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError, match="rank 0 to rank 5"):
        runtime.launch([], shared={}, channels=[(0, 5)], listen=lambda r, e: None)
    with pytest.raises(InputError, match="names"):
        launch(runtime, lambda context: (yield), names=["a", "b"])


def test_programs_are_copies() -> None:
    seen: list[int] = []

    def make(context: RankContext) -> Program:
        seen.append(context.rank)
        return len(seen)
        yield

    assert launch(Virtual(), make, make).results == (1, 1)
    assert seen == []


def make_random(rounds: list[list[tuple[int, int, int, bool]]]) -> Callable[[RankContext], Program]:
    """A rank's part of rounds of messages (sender, receiver, length, reduce)."""

    def make(context: RankContext) -> Program:
        rng = np.random.default_rng(context.rank)
        history = [rng.normal(size=64)]
        for number, messages in enumerate(rounds):
            state = history[-1].copy()
            arrivals: list[np.ndarray] = []
            transfers: list[Outgoing | Incoming] = []
            for sender, receiver, length, reduce in messages:
                operation = f"round {number}"
                if sender == context.rank:
                    transfers.append(Outgoing(receiver, state[:length], operation))
                if receiver == context.rank:
                    arrivals.append(state[:length].copy())
                    transfers.append(Incoming(sender, arrivals[-1], operation, reduce))
            yield Exchange(tuple(transfers))
            for arrival in arrivals:
                state[: len(arrival)] += arrival
            history.append(state * 0.5)
        return history[-1]

    return make


@st.composite
def rounds_of_messages(draw: st.DrawFn) -> tuple[int, list[list[tuple[int, int, int, bool]]]]:
    size = draw(st.integers(1, 4))
    pairs = [(a, b) for a in range(size) for b in range(size) if a != b]
    if not pairs:
        return size, [[]]
    message = st.tuples(st.sampled_from(pairs), st.integers(0, 64), st.booleans())
    rounds = draw(st.lists(st.lists(message, max_size=6), max_size=12))
    return size, [[(*pair, length, reduce) for pair, length, reduce in r] for r in rounds]


@settings(max_examples=10)  # of many rounds, for to start processes takes longest
@given(rounds_of_messages(), st.integers(0, 99))
def test_random_programs_do_the_same_everywhere(
    drawn: tuple[int, list[list[tuple[int, int, int, bool]]]], seed: int
) -> None:
    size, rounds = drawn
    programs = [make_random(rounds)] * size
    expected = launch(Virtual(), *programs)
    for runtime in (Virtual("none", seed), Virtual("unlimited", seed), SMALL_SLOTS):
        outcome = launch(runtime, *programs)
        np.testing.assert_array_equal(outcome.results, expected.results)
        assert outcome.traffic == expected.traffic
