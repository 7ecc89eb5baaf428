"""Our reader of safetensors reads what the library has written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from safetensors.numpy import save_file

from minidl.tensor_file import DTYPES, opened

ARRAYS = st.sampled_from(sorted(DTYPES.values())).flatmap(
    lambda dtype: npst.arrays(np.dtype(dtype), npst.array_shapes(min_dims=0, min_side=0))
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)


@given(
    tensors=st.dictionaries(
        TEXTS.filter(lambda name: name != "__metadata__"), ARRAYS, min_size=1, max_size=5
    ),
    metadata=st.dictionaries(TEXTS, TEXTS, max_size=3),
)
def test_what_the_library_has_written_is_read_bit_for_bit(
    tensors: dict[str, np.ndarray], metadata: dict[str, str], tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "file", metadata)
    with opened(tmp_path / "file") as file:
        assert file.metadata == metadata
        assert file.entries.keys() == tensors.keys()
        for name, array in tensors.items():
            found = file.read(name)
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
            assert found.tobytes() == array.tobytes()
            assert file.entries[name].shape == array.shape
