"""The proofs themselves: a plan with anything changed in it must not pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import plans
from minidl.errors import DeadlockError, InputError, PlanError
from minidl.plans import (
    Activation,
    Backward,
    Collective,
    Forward,
    Gradient,
    Instruction,
    Plan,
    Receive,
    Send,
    check_all_reduce,
    check_barrier,
    check_collective,
    check_pipeline,
    grid,
)
from minidl.plans.rendezvous import execute

Place = tuple[int, int, int]


def places(plan: Plan) -> list[Place]:
    return [
        (rank, step, n)
        for rank, program in enumerate(plan.programs)
        for step, instructions in enumerate(program)
        for n in range(len(instructions))
    ]


def edited(plan: Plan, place: Place, *new: Instruction) -> Plan:
    """The plan with the instruction at this place replaced by these."""
    rank, step, n = place
    programs = [list(program) for program in plan.programs]
    instructions = programs[rank][step]
    programs[rank][step] = (*instructions[:n], *new, *instructions[n + 1 :])
    return replace(plan, programs=tuple(tuple(program) for program in programs))


def at(plan: Plan, place: Place) -> Instruction:
    rank, step, n = place
    return plan.programs[rank][step][n]


@st.composite
def broken_collectives(draw: st.DrawFn) -> tuple[Collective, str]:
    make = draw(st.sampled_from(list(plans.ALL_REDUCES.values())))
    plan = make(draw(st.integers(2, 7)))
    place = draw(st.sampled_from(places(plan)))
    old = at(plan, place)
    assert isinstance(old, Send | Receive)
    kinds = ["drop", "repeat", "peer", "chunk", "beyond", "turn", "both"]
    kind = draw(st.sampled_from(kinds + ["reduce"] * isinstance(old, Receive)))
    other_peers = [rank for rank in range(-1, plan.size + 1) if rank != old.peer]
    beyond = plan.chunks + len(plan.blocks)
    other_chunks = [chunk for chunk in range(-1, beyond + 1) if chunk != old.item]
    match kind:
        case "drop":
            return edited(plan, place), kind
        case "repeat":
            return edited(plan, place, old, old), kind
        case "peer":
            return edited(plan, place, replace(old, peer=draw(st.sampled_from(other_peers)))), kind
        case "chunk":
            return edited(plan, place, replace(old, item=draw(st.sampled_from(other_chunks)))), kind
        case "beyond":
            return edited(plan, place, replace(old, item=beyond)), kind
        case "turn":
            turned = Receive if isinstance(old, Send) else Send
            return edited(plan, place, turned(old.peer, old.item)), kind
        case "reduce":
            assert isinstance(old, Receive)
            return edited(plan, place, replace(old, reduce=not old.reduce)), kind
    # Sender and receiver agree on a chunk, but on another one than before.
    message = draw(st.sampled_from([e for e in execute(plan) if hasattr(e, "send")]))
    # (not on a block with that chunk in it, which may be more than necessary but right).
    others = [*range(plan.chunks), beyond]
    chunk = draw(st.sampled_from([c for c in others if c != message.send.item]))
    for rank, step, half in (
        (message.sender, message.send_step, message.send),
        (message.receiver, message.receive_step, message.receive),
    ):
        n = plan.programs[rank][step].index(half)
        plan = edited(plan, (rank, step, n), replace(half, item=chunk))
    return plan, kind


@settings(max_examples=200)
@given(broken_collectives())
def test_a_collective_with_one_mistake_is_refused(broken: tuple[Collective, str]) -> None:
    plan, _ = broken
    with pytest.raises(PlanError) as caught:
        check_all_reduce(plan)
    assert "step  rank " in str(caught.value)


@st.composite
def broken_pipelines(draw: st.DrawFn) -> tuple[Plan, int, int]:
    schedule = draw(st.sampled_from(list(plans.SCHEDULES.values())))
    stages, micro_batches = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    plan = schedule(stages, micro_batches)
    place = draw(st.sampled_from(places(plan)))
    old = at(plan, place)
    kind = draw(st.sampled_from(["drop", "repeat", "other", "change"]))
    if kind == "drop":
        plan = edited(plan, place)
    elif kind == "repeat":
        plan = edited(plan, place, old, old)
    elif kind == "other":
        new = Backward if isinstance(old, Forward) else Forward
        plan = edited(plan, place, new(draw(st.integers(0, micro_batches))))
    elif isinstance(old, Send | Receive):
        item = old.item
        assert isinstance(item, Activation | Gradient)
        other = Gradient if isinstance(item, Activation) else Activation
        new_item = draw(
            st.sampled_from([other(item.micro_batch), type(item)(item.micro_batch + 1)])
        )
        changed = replace(old, item=new_item)
        peer = draw(st.integers(-1, stages).filter(lambda peer: peer != old.peer))
        plan = edited(plan, place, draw(st.sampled_from([changed, replace(old, peer=peer)])))
    else:
        plan = edited(plan, place, type(old)(old.micro_batch + 1))
    return plan, stages, micro_batches


@settings(max_examples=200)
@given(broken_pipelines())
def test_a_pipeline_with_one_mistake_is_refused(broken: tuple[Plan, int, int]) -> None:
    plan, stages, micro_batches = broken
    with pytest.raises(PlanError):
        check_pipeline(plan, stages, micro_batches)


def ring_with(size: int, edit: Callable[[plans.Program], plans.Program]) -> Collective:
    ring = plans.ring_all_reduce(size)
    return replace(ring, programs=tuple(edit(program) for program in ring.programs))


def test_a_circle_of_blocking_sends_is_a_deadlock() -> None:
    blocking = ring_with(3, lambda program: tuple((i,) for step in program for i in step))
    with pytest.raises(DeadlockError) as caught:
        check_all_reduce(blocking)
    text = str(caught.value)
    assert "rank 0 waits for rank 1, rank 1 waits for rank 2, rank 2 waits for rank 0" in text
    assert "rank 1 waits in step 0 to send chunk 1 to rank 2" in text
    assert "0     »0→1«   »1→2«   »2→0«" in text


def test_half_a_ring_leaves_sums_unfinished() -> None:
    half = ring_with(3, lambda program: program[:2])
    with pytest.raises(PlanError, match="rank 0 holds of chunk 0 no contribution of ranks 1, 2"):
        check_all_reduce(half)


def test_a_contribution_added_twice_is_named() -> None:
    adding = ring_with(
        2, lambda p: tuple(tuple(replace(i, reduce=True) if isinstance(i, Receive) else i
                                 for i in step) for step in p)
    )  # fmt: skip
    with pytest.raises(PlanError, match=r"the contribution of rank \d \(2 times\)"):
        check_all_reduce(adding)


def test_a_chunk_sent_and_received_into_at_once_is_refused() -> None:
    swap = Collective("swap", (((Send(1, 0), Receive(1, 0, True)),),
                               ((Send(0, 0), Receive(0, 0, True)),)), 1)  # fmt: skip
    with pytest.raises(PlanError, match="both sends chunk 0 and receives into it"):
        check_all_reduce(swap)


def test_a_chunk_received_twice_in_a_step_is_refused() -> None:
    root = ((Receive(1, 0, True), Receive(2, 0, True)),)
    gather = Collective("gather", (root, ((Send(0, 0),),), ((Send(0, 0),),)), 1)
    with pytest.raises(PlanError, match="receives chunk 0 twice in step 0"):
        check_all_reduce(gather)


def test_a_message_to_oneself_is_refused() -> None:
    own = Collective("own", (((Send(0, 0),), (Receive(0, 0),)),), 1)
    with pytest.raises(PlanError, match="rank 0 sends to itself in step 0"):
        check_all_reduce(own)


def test_a_receiver_that_names_another_chunk_is_refused() -> None:
    ring = plans.ring_all_reduce(4)
    receive = at(ring, (2, 0, 1))
    assert receive == Receive(1, 1, reduce=True)
    other = edited(ring, (2, 0, 1), Receive(1, 0, reduce=True))
    with pytest.raises(PlanError, match="rank 1 sends chunk 1 .* from it in its step 0 is chunk 0"):
        check_all_reduce(other)


def test_messages_of_a_step_pass_in_their_order() -> None:
    def swap(first: int, second: int) -> Plan:
        sends, receives = (Send(1, 0), Send(1, 1)), (Receive(0, first), Receive(0, second))
        return Plan("swap", ((sends,), (receives,)))

    assert len(execute(swap(0, 1))) == 2
    with pytest.raises(PlanError, match="rank 0 sends chunk 0 .* is chunk 1"):
        execute(swap(1, 0))


@pytest.mark.parametrize("together", [True, False])
def test_a_pass_done_twice_is_refused(together: bool) -> None:
    forward, backward = Forward(0), Backward(0)
    steps = ((forward, forward),) if together else ((forward,), (forward,))
    with pytest.raises(PlanError, match="stage 0 does F0 twice"):
        check_pipeline(Plan("twice", ((*steps, (backward,)),)), 1, 1)


def test_a_pass_in_a_collective_is_refused() -> None:
    with pytest.raises(PlanError, match="a collective only sends and receives"):
        check_all_reduce(Collective("odd", (((Forward(0),),),), 1))


def test_what_is_no_instruction_is_refused() -> None:
    with pytest.raises(InputError, match="'send', which is not a Send, Receive"):
        execute(Plan("odd", ((("send",),),)))  # type: ignore[arg-type]


def test_using_an_activation_before_it_came_is_found() -> None:
    plan = plans.gpipe(2, 1)
    receive, forward, *rest = plan.programs[1]
    early = replace(plan, programs=(plan.programs[0], (forward, receive, *rest)))
    with pytest.raises(PlanError, match="does F0 in step 0, but a0←0 has to come in a step before"):
        check_pipeline(early, 2, 1)


def test_backward_before_forward_is_found() -> None:
    plan = Plan("backwards", (((Backward(0),), (Forward(0),)),))
    with pytest.raises(PlanError, match="does B0 in step 0, but F0 has to come"):
        check_pipeline(plan, 1, 1)


def test_stages_that_both_send_first_are_a_deadlock() -> None:
    # Each order is right by itself: stage 0 sends a1 before it takes g0, stage 1 the reverse.
    a, b = plans.gpipe(2, 2), plans.sequential(2, 2)
    mixed = Plan("mixed", (a.programs[0], b.programs[1]))
    with pytest.raises(DeadlockError, match="deadlock: rank 0 waits for rank 1, rank 1 waits"):
        check_pipeline(mixed, 2, 2)


def test_the_wrong_number_of_stages_is_found() -> None:
    with pytest.raises(PlanError, match="programs for 2 stages, not 3"):
        check_pipeline(plans.gpipe(2, 2), 3, 2)


def test_a_plan_prints_as_a_grid() -> None:
    assert grid(plans.ring_all_reduce(2), [(1, 0)]).splitlines() == [
        "step  rank 0    rank 1",
        "0     0→1 1+←1  »1→0 0+←0«",
        "1     1→1 0←1   0→0 1←0",
    ]
    assert grid(plans.gpipe(1, 2)).splitlines()[1:] == [
        "0     F0",
        "1     F1",
        "2     B1",
        "3     B0",
    ]


def test_a_long_plan_is_shown_around_its_mistake_only() -> None:
    plan = plans.gpipe(2, 30)
    late = replace(plan, programs=(plan.programs[0][:-1], plan.programs[1]))
    with pytest.raises(PlanError) as caught:
        check_pipeline(late, 2, 30)
    text = str(caught.value)
    assert "stage 0 never does B0" in text and "»end«" in text
    assert len(text.splitlines()) < 25 and "other steps left out" in text


def test_memory_that_nobody_wrote_to_is_no_summand() -> None:
    # Rank 1 has nothing to give, so what it adds to its memory is no sum.
    adding = (((Send(1, 0),),), ((Receive(0, 0, reduce=True),),))
    plan = replace(plans.broadcast(2), programs=adding)
    with pytest.raises(PlanError, match="rank 1 holds of chunk 0 memory that nobody has written"):
        check_collective(plan)


def test_what_is_left_of_a_broadcast_is_named() -> None:
    plan = plans.broadcast(4, root=2)
    short = replace(plan, programs=(plan.programs[0], (), plan.programs[2][:1], ()))
    with pytest.raises(PlanError, match=r"rank 0 holds|a message without a partner"):
        check_collective(short)
    other = replace(plan, sources=(frozenset([1]),))
    with pytest.raises(PlanError, match="no contribution of rank 1 and memory that nobody"):
        check_collective(other)
    with pytest.raises(PlanError, match="no contribution of ranks"):
        check_all_reduce(plan)


def test_a_block_that_overlaps_what_is_received_is_refused() -> None:
    plan = Collective("overlap", (((Send(1, 2), Receive(1, 1, True)),),
                                  ((Send(0, 1), Receive(0, 2, True)),)),
                      2, blocks=(range(2),))  # fmt: skip
    with pytest.raises(PlanError, match="rank 0 both sends chunk 1 and receives into it"):
        check_all_reduce(plan)


def test_a_barrier_that_ends_too_early_is_found() -> None:
    plan = plans.barrier(5)
    early = replace(plan, programs=tuple(program[:2] for program in plan.programs))
    with pytest.raises(PlanError, match="rank 0 comes to its end without having heard of rank 1"):
        check_barrier(early)
    # News that comes in the step in which one sends is too late to be sent in it.
    at_once = replace(plans.barrier(3), programs=tuple(
        (tuple(i for step in program for i in step),) for program in plans.barrier(4).programs
    ))  # fmt: skip
    with pytest.raises(PlanError, match="without having heard of"):
        check_barrier(replace(plans.barrier(4), programs=at_once.programs))


def test_a_block_prints_as_its_first_and_last_chunk() -> None:
    assert grid(plans.all_reduce(4, "halving-doubling")).splitlines()[1] == (
        "0     2-3→2 0-1+←2  2-3→3 0-1+←3  0-1→0 2-3+←0  0-1→1 2-3+←1"
    )
    plan = plans.all_reduce(4, "halving-doubling")
    with pytest.raises(PlanError, match=r"rank 0 waits in step 0 to send chunk 2-3 to rank 2"):
        check_all_reduce(replace(plan, programs=(*plan.programs[:2], (), plan.programs[3])))
