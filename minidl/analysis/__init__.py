"""The arithmetic of networks: what each layer costs and how far it sees, without running it."""

from __future__ import annotations

from minidl.analysis.receptive_field import PIXEL, Field, Sight
from minidl.analysis.rules import multiply_adds, sight
from minidl.analysis.summary import Row, Summary, summary

__all__ = ["PIXEL", "Field", "Row", "Sight", "Summary", "multiply_adds", "sight", "summary"]
