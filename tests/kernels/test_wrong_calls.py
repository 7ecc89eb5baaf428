"""No call of a kernel, however wrong, writes outside its arrays or ends the process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl import kernels
from minidl.errors import InputError

HERE = Path(__file__).parent
HEAP_CHECKER = "libc_malloc_debug.so.0"
"""Of the GNU C library since 2.34: it looks at the heap's own records at every call."""


@pytest.mark.parametrize("calls", [12, pytest.param(150, marks=pytest.mark.slow)])
def test_wrong_calls_are_refused_or_computed_as_defined(calls: int) -> None:
    seed = 0 if os.environ.get("CI") else int.from_bytes(os.urandom(3))
    environment = os.environ | {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
    if any(Path(folder, HEAP_CHECKER).exists() for folder in ("/lib/x86_64-linux-gnu", "/lib64")):
        environment["LD_PRELOAD"] = HEAP_CHECKER
    run = subprocess.run(
        [sys.executable, str(HERE / "hostile.py"), str(calls), str(seed)],
        cwd=HERE.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, f"seed {seed}: {run.stderr[-3000:]}"
    counted = re.fullmatch(r"(\d+) refused, (\d+) computed alike\n", run.stdout)
    assert counted is not None and min(map(int, counted.groups())) > 100


@pytest.mark.parametrize("name", kernels.CHOICES)
def test_products_of_two_float_types_are_in_the_wider(name: str) -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.ones((3, 2), np.float32)
    with kernels.using(name):
        c = kernels.of(a).matmul(a, b)
    np.testing.assert_array_equal(c, [[3, 3], [12, 12]])
    assert c.dtype == np.float64


@pytest.mark.parametrize("name", kernels.CHOICES)
@pytest.mark.parametrize("label", [100_000, -100, 3])
def test_a_label_out_of_range_is_named(name: str, label: int) -> None:
    logits = np.zeros((2, 3), np.float32)
    with kernels.using(name), pytest.raises(InputError, match=f"from 0 to 2, not {label}"):
        kernels.of(logits).softmax_cross_entropy(logits, np.array([0, label]), 0.0)


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(InputError, match="not list"):
        kernels.of([1.0, 2.0])
