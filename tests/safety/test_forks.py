"""Forks while threads make their first calls: no child hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from langchain_core.language_models import BaseChatModel

from tests.core.forked import passes_in_a_forked_child
from tests.safety.answering_server import AnsweringServer
from tests.safety.models import KINDS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_no_child_hangs_that_is_forked_while_threads_make_their_first_calls() -> None:
    command = [sys.executable, "-m", "tests.safety.forks_while_calling"]
    done = subprocess.run(
        [*command, "--rounds", "4", "--children", "6"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "24 children, 0 failed\n"), done.stderr


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="cached_property has no lock any more")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_no_child_waits_for_a_cached_property_that_a_thread_of_the_parent_computes() -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with vars(BaseChatModel)["_serialized"].lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    kind = KINDS["ChatLunos"]
    with AnsweringServer() as server:
        model = kind.make(api_key="k", base_url=server.url)
        try:
            assert passes_in_a_forked_child(lambda: kind.ask(model))
        finally:
            done.set()
            thread.join()
