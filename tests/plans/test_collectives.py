"""Collectives: proved for all small world sizes and options, run on numbers, priced by formula."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from every_collective import ALL, ROOTED, options
from hypothesis import given
from hypothesis import strategies as st

from minidl import plans
from minidl.errors import InputError
from minidl.plans import Collective, formulas
from minidl.plans.collectives.trees import two_trees
from minidl.plans.rendezvous import Message, count_messages, execute

MOST = 17
LENGTHS = st.integers(0, 40)
each_all_reduce = pytest.mark.parametrize("name", plans.ALL_REDUCES)
each_collective = pytest.mark.parametrize("name", ALL)


def every(name: str) -> Iterator[Collective]:
    for size in range(1, MOST + 1):
        for chosen in options(name, size):
            yield ALL[name](size, **chosen)


@st.composite
def some(draw: st.DrawFn, names: Iterable[str] = tuple(ALL)) -> Collective:
    name = draw(st.sampled_from(list(names)))
    size = draw(st.integers(2 if name == "send/receive" else 1, 9))
    return ALL[name](size, **draw(st.sampled_from(options(name, size))))


def run(plan: Collective, vectors: np.ndarray) -> np.ndarray:
    """What the ranks hold after the plan, by the order of messages with zero buffering."""
    vectors = vectors.copy()
    slices = plan.slices(vectors.shape[1])
    for event in execute(plan):
        assert isinstance(event, Message)
        part = slices[event.send.item]
        if event.receive.reduce:
            vectors[event.receiver, part] += vectors[event.sender, part]
        else:
            vectors[event.receiver, part] = vectors[event.sender, part]
    return vectors


@each_collective
def test_every_collective_keeps_its_promise_at_its_price(name: str) -> None:
    for plan in every(name):
        counted = plans.check_collective(plan)
        if name in plans.ALL_REDUCES:
            assert plans.check_all_reduce(plan) == counted  # the sum, to all
        cost = plan.cost
        assert cost is not None
        assert counted.messages == cost.messages, plan
        assert counted.chunks_sent == tuple(share * plan.chunks for share in cost.shares), plan
        if cost.at_most:
            assert counted.steps <= cost.steps, plan
        else:
            assert counted.steps == cost.steps, plan


def read(formula: str, **values: int) -> float:
    """What a formula such as ``2N(P−1)/P + N (P > Q)`` comes to."""
    times = re.sub(r"(?<=[\w)]) *(?=[A-Za-z(])", "*", formula.removeprefix("≤ "))
    return float(eval(times.replace("−", "-"), dict(values)))


@each_all_reduce
def test_a_formula_in_words_says_what_the_busiest_rank_sends(name: str) -> None:
    for size in range(1, MOST + 1):
        power = 1 << (size.bit_length() - 1)
        for chosen in options(name, size):
            cost = ALL[name](size, **chosen).cost
            assert cost is not None
            groups = chosen.get("groups", 1)
            said = read(cost.words[2], N=1, P=size, Q=power, G=groups, k=-(-size // groups))
            if cost.words[2].startswith("≤"):
                assert max(cost.shares) <= said
            else:
                assert said == pytest.approx(float(max(cost.shares)))


WHO: dict[str, Callable[[int, int, int], tuple[set[int], set[int]]]] = {
    "broadcast": lambda size, root, chunk: ({root}, set(range(size))),
    "reduce": lambda size, root, chunk: (set(range(size)), {root}),
    "reduce-scatter": lambda size, root, chunk: (set(range(size)), {chunk}),
    "all-gather": lambda size, root, chunk: ({chunk}, set(range(size))),
    "scatter": lambda size, root, chunk: ({root}, {chunk}),
    "gather": lambda size, root, chunk: ({chunk}, {root}),
    "all-to-all": lambda size, root, chunk: ({chunk // size}, {chunk % size}),
}
"""From whom to whom each chunk goes, by the collectives' names in the MPI standard."""


@pytest.mark.parametrize("name", WHO)
def test_what_a_collective_promises(name: str) -> None:
    for size in range(1, 8):
        for chosen in options(name, size):
            plan = ALL[name](size, **chosen)
            for chunk in range(plan.chunks):
                who = WHO[name](size, chosen.get("root", 0), chunk)
                assert (plan.sources[chunk], plan.targets[chunk]) == who


def test_a_barrier_lets_nobody_pass_alone() -> None:
    for plan in every("barrier"):
        counted = plans.check_barrier(plan)
        assert counted.steps == (plan.size - 1).bit_length()
    for name in plans.ALL_REDUCES:
        # Nobody can know a sum before all have come.
        plans.check_barrier(ALL[name](7))


@pytest.mark.parametrize("name", ["ring", "tree", "double-tree", "halving-doubling", "torus"])
def test_no_rank_sends_or_receives_two_things_at_once(name: str) -> None:
    for plan in every(name):
        events = [e for e in execute(plan, count_messages) if isinstance(e, Message)]
        assert max(Counter((e.sender, e.start) for e in events).values(), default=1) == 1
        assert max(Counter((e.receiver, e.start) for e in events).values(), default=1) == 1


@given(st.integers(1, 200))
def test_two_trees_share_no_inner_rank(size: int) -> None:
    trees = two_trees(size)
    inner = [{parent for parent in tree if parent is not None} for tree in trees]
    assert not inner[0] & inner[1]
    for tree in trees:
        assert sum(parent is None for parent in tree) == 1
        assert max(Counter(p for p in tree if p is not None).values(), default=0) <= 2
        for rank in range(size):
            level, above = 0, tree[rank]
            while above is not None:
                level, above = level + 1, tree[above]
            assert level <= size.bit_length() - 1


@pytest.mark.parametrize("name", ["tree", "double-tree"])
def test_a_further_piece_costs_two_steps_each_way(name: str) -> None:
    for size in range(3, MOST + 1):
        steps = [plans.check_all_reduce(ALL[name](size, pieces=n)).steps for n in range(1, 6)]
        assert set(np.diff(steps)) == {4}


def test_32_by_34_is_the_published_case() -> None:
    # Mikami et al., arXiv 1811.05233: 1088 cards.
    assert plans.costs.torus(32, 34).steps == 128
    assert plans.costs.ring(32 * 34).steps == 2174
    assert plans.costs.torus(32, 34).shares == plans.costs.ring(32 * 34).shares


@pytest.mark.parametrize("size", range(1, 10))
def test_a_torus_with_one_row_is_a_ring(size: int) -> None:
    ring = plans.check_all_reduce(plans.ring_all_reduce(size))
    for shape in ((1, size), (size, 1)):
        assert plans.check_all_reduce(plans.torus_all_reduce(size, shape)) == ring


@pytest.mark.parametrize("size", range(1, 10))
def test_the_older_formulas_agree(size: int) -> None:
    for costs, steps, sent in (
        (plans.costs.ring(size), formulas.ring_steps(size), formulas.ring_bytes(size, 1)),
        (plans.costs.server(size), formulas.server_steps(size), size - 1),
    ):
        assert costs.steps == steps
        assert costs.sent(1)[0] == sent
    assert sum(plans.costs.server(size).shares) == formulas.server_bytes(size, 1)


@given(some(), LENGTHS, st.sampled_from([1, 2, 4, 8]))
def test_bytes_by_formula(plan: Collective, length: int, itemsize: int) -> None:
    sent = plans.bytes_sent(plan, length, itemsize)
    assert plan.cost is not None
    mean = plan.cost.sent(length * itemsize)
    # A chunk is less than one element larger or smaller than the mean, and so is a block;
    # so the difference is less than an element for each message.
    sends = [sum(isinstance(i, plans.Send) for step in p for i in step) for p in plan.programs]
    for rank in range(plan.size):
        assert abs(sent[rank] - mean[rank]) <= sends[rank] * itemsize
    if length % plan.chunks == 0:
        assert sent == pytest.approx(mean)


@given(st.integers(1, 9), LENGTHS, st.sampled_from([2, 4, 8]))
def test_ring_bytes(size: int, length: int, itemsize: int) -> None:
    sent = plans.bytes_sent(plans.ring_all_reduce(size), length, itemsize)
    mean = formulas.ring_bytes(size, length * itemsize)
    assert sum(sent) == 2 * (size - 1) * length * itemsize
    assert all(abs(share - mean) < 2 * itemsize for share in sent)


@given(plan=some(), length=LENGTHS, seed=st.integers(0, 1000))
def test_numbers_come_where_they_are_promised(plan: Collective, length: int, seed: int) -> None:
    before = np.random.default_rng(seed).integers(-50, 50, (plan.size, length))
    after = run(plan, before)
    for chunk, part in enumerate(plan.slices(length)[: plan.chunks]):
        total = before[sorted(plan.sources[chunk]), part].sum(axis=0)
        for rank in plan.targets[chunk]:
            assert (after[rank, part] == total).all()


@given(plan=some(plans.ALL_REDUCES), length=LENGTHS, seed=st.integers(0, 1000))
def test_all_ranks_round_alike(plan: Collective, length: int, seed: int) -> None:
    after = run(plan, np.random.default_rng(seed).normal(size=(plan.size, length)))
    assert (after == after[0]).all()


@given(
    size=st.integers(1, 9),
    length=LENGTHS,
    seed=st.integers(0, 1000),
    dtype=st.sampled_from(["f4", "f8"]),
)
def test_whole_numbers_do_not_tell_the_algorithm(
    size: int, length: int, seed: int, dtype: str
) -> None:
    vectors = np.random.default_rng(seed).integers(-999, 999, (size, length)).astype(dtype)
    results = [run(make(size), vectors).tobytes() for make in plans.ALL_REDUCES.values()]
    assert len(set(results)) == 1


def test_the_server_adds_in_rank_order() -> None:
    vectors = np.array([[1e16], [1.0], [-1e16], [3.0]])
    assert run(plans.server_reduce(4), vectors)[0, 0] == ((1e16 + 1.0) - 1e16) + 3.0


@given(st.integers(0, 100), st.integers(1, 12))
def test_split_cuts_evenly_and_leaves_nothing_out(length: int, parts: int) -> None:
    slices = plans.split(length, parts)
    sizes = [part.stop - part.start for part in slices]
    assert [i for part in slices for i in range(length)[part]] == list(range(length))
    assert len(sizes) == parts and max(sizes) - min(sizes) <= 1


@each_collective
@pytest.mark.parametrize("size", [0, -1, 1.5, "2", True, None])
def test_an_impossible_size_is_refused(name: str, size: object) -> None:
    with pytest.raises(InputError, match="at least 1, not"):
        ALL[name](size)


@pytest.mark.parametrize("name", ROOTED)
@pytest.mark.parametrize("root", [-1, 3, 1.0, None, True])
def test_a_root_that_does_not_exist_is_refused(name: str, root: object) -> None:
    with pytest.raises(InputError, match=r"root is one of the ranks 0 to 2, not"):
        ALL[name](3, root=root)


@pytest.mark.parametrize("shape", [(2, 4), (6,), (1, 2, 3), (-2, -3), (1.5, 4), 6, "ab"])
def test_a_torus_of_another_shape_is_refused(shape: Any) -> None:
    with pytest.raises(InputError, match=r"one of \(1, 6\), \(2, 3\), \(3, 2\), \(6, 1\); not"):
        plans.torus_all_reduce(6, shape)


def test_other_impossible_options_are_refused() -> None:
    with pytest.raises(InputError, match="make 1 to 4 groups, not 5"):
        plans.hierarchical_all_reduce(4, groups=5)
    with pytest.raises(InputError, match="groups must be a whole number of at least 1, not 0"):
        plans.hierarchical_all_reduce(4, groups=0)
    for make in (plans.tree_all_reduce, plans.double_tree_all_reduce):
        with pytest.raises(InputError, match="pieces must be a whole number of at least 1, not 0"):
            make(4, pieces=0)
    with pytest.raises(InputError, match="source and target are both 1"):
        plans.send_receive(3, 1, 1)
    with pytest.raises(InputError, match="target is one of the ranks 0 to 1, not 2"):
        plans.send_receive(2, 0, 2)


def test_all_reduce_by_name() -> None:
    assert plans.all_reduce(4) == plans.ring_all_reduce(4)
    assert plans.all_reduce(6, "torus", shape=(3, 2)) == plans.torus_all_reduce(6, (3, 2))
    with pytest.raises(InputError, match="no all-reduce 'rong'; there are 'ring', 'server'"):
        plans.all_reduce(4, "rong")
    with pytest.raises(InputError, match="'torus' has no option 'groups'; its options are: shape"):
        plans.all_reduce(4, "torus", groups=2)
    with pytest.raises(InputError, match="'ring' has no option 'pieces'; its options are: none"):
        plans.all_reduce(4, "ring", pieces=2)


def test_promises_for_another_number_of_chunks_are_refused() -> None:
    with pytest.raises(InputError, match="sources are given for 1 chunks, not 2"):
        Collective("odd", ((),), 2, sources=(frozenset([0]),))
