"""Epochs are permutations, and shards of any number of ranks make up each batch in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import Dataset, Loader
from minidl.errors import InputError

SAMPLES, BATCH_SIZES = st.integers(1, 50), st.integers(1, 60)


def loader(samples: int, batch_size: int, seed: int = 0, dtype: type = np.float32) -> Loader:
    """A loader of samples whose input and target are their own number."""
    numbers = np.arange(samples)
    return Loader(Dataset(numbers.reshape(-1, 1), numbers), batch_size, seed, dtype)


@given(SAMPLES, BATCH_SIZES, st.integers(0, 3))
def test_an_epoch_has_every_sample_once(samples: int, batch_size: int, epoch: int) -> None:
    made = loader(samples, batch_size)
    batches = [made.indices(epoch, step) for step in range(made.steps)]
    assert sorted(np.concatenate(batches)) == list(range(samples))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (made.steps - 1)
    assert len(batches[-1]) == samples - batch_size * (made.steps - 1)
    assert 1 <= len(batches[-1]) <= batch_size


@given(SAMPLES, BATCH_SIZES, st.integers(1, 9), st.data())
def test_shards_make_up_the_batch_in_order(
    samples: int, batch_size: int, size: int, draw: st.DataObject
) -> None:
    made = loader(samples, batch_size)
    step = draw.draw(st.integers(0, made.steps - 1))
    whole = made.indices(1, step)
    shards = [made.shard(1, step, rank, size) for rank in range(size)]
    assert np.array_equal(np.concatenate([shard.y for shard in shards]), whole)
    assert np.array_equal(np.concatenate([shard.x for shard in shards]).ravel(), whole)
    lengths = [len(shard) for shard in shards]
    assert max(lengths) - min(lengths) <= 1
    assert [shard.first for shard in shards] == [sum(lengths[:rank]) for rank in range(size)]
    assert {shard.size for shard in shards} == {len(whole)}


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return list(loader(40, 7, seed).order(epoch))

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 1) != order(1, 0)


def test_one_loader_gives_every_epoch_its_own_order_in_any_turn() -> None:
    made = loader(20, 4)
    for epoch in (0, 5, 0, 1):
        assert np.array_equal(made.order(epoch), loader(20, 4).order(epoch))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shards_have_the_dtype_asked_for(dtype: type) -> None:
    assert loader(5, 2, dtype=dtype).shard(0, 0).x.dtype == dtype


@pytest.mark.parametrize("batch_size", [0, -3])
def test_batch_size_is_at_least_one(batch_size: int) -> None:
    with pytest.raises(InputError, match=f"batch_size is {batch_size}; at least 1"):
        loader(5, batch_size)


@pytest.mark.parametrize("step", [-1, 3])
def test_steps_lie_in_the_epoch(step: int) -> None:
    with pytest.raises(InputError, match=f"step {step} is not in an epoch of 3 steps"):
        loader(5, 2).shard(0, step)


@pytest.mark.parametrize(("rank", "size"), [(-1, 2), (2, 2), (0, 0)])
def test_ranks_lie_in_the_world(rank: int, size: int) -> None:
    with pytest.raises(InputError, match=f"no rank {rank} among {size}"):
        loader(5, 2).shard(0, 0, rank, size)
