"""Comparisons with PyTorch and with formulas: measured on your machine, never asserted."""
