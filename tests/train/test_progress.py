"""When a fit shows its progress, and that a notebook without ipywidgets is not scolded for it."""

from __future__ import annotations

import io
import sys
import types
import warnings

import pytest

from minidl.train import progress


@pytest.mark.parametrize("said", ["0", "1", None])
def test_a_notebook_shows_progress_unless_nobody_is_there(
    said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.delenv("MINIDL_PROGRESS", raising=False)
    if said is not None:
        monkeypatch.setenv("MINIDL_PROGRESS", said)
    assert progress.wanted(None) == (said != "0")
    assert progress.wanted(True)
    assert not progress.wanted(False)


def test_a_notebook_without_ipywidgets_is_shown_lines_without_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    job = types.SimpleNamespace(steps=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with progress.showing(job, "serial", shown=True) as shown:  # type: ignore[arg-type]
            shown.stage("running")
