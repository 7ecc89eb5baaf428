"""The kernels for CPUs."""

from __future__ import annotations

from minidl.kernels.reference import *  # noqa: F403
