"""What the workers of a job share: who asks what, what is answered, why it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from lunos_bulk.state import State
from lunos_core import LunosConfigError


def test_the_state_belongs_to_one_job_and_gives_a_key_to_one_worker(tmp_path: Path) -> None:
    one, two = State(tmp_path), State(tmp_path)
    one.begin("job")
    with pytest.raises(LunosConfigError, match="another model"):
        two.begin("other")
    assert one.claim([b"a", b"b"]) == ([b"a", b"b"], {})
    assert two.claim([b"a", b"c"]) == ([b"c"], {})
    one.keep({b"a": (b"1", None), b"b": (None, "ValueError: no")})
    assert two.claim([b"a", b"b"]) == ([], {b"a": (b"1", None), b"b": (None, "ValueError: no")})
    two.run = one.run
    assert one.stopped == two.stopped == ""
    one.stop("enough")
    two.stop("and more")
    assert two.stopped == "enough"
    two.begin("job")  # the next run: nothing is being asked, what is known stays
    assert (one.stopped, two.stopped) == ("another run has begun", "")
    assert two.claim([b"c", b"a"]) == ([b"c"], {b"a": (b"1", None)})
    one.store.close()
    two.store.close()


def test_what_a_silent_worker_was_asking_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = State(tmp_path), State(tmp_path)
    now = [1000.0]
    monkeypatch.setattr("lunos_bulk.state.time.time", lambda: now[0])
    assert one.claim([b"a"])[0] == [b"a"]
    now[0] += 29
    assert two.claim([b"a"])[0] == []
    one.claim()  # a sign of life
    now[0] += 29
    assert two.claim([b"a"])[0] == []
    now[0] += 29
    assert two.claim([b"a"])[0] == [b"a"]
    one.store.close()
    two.store.close()
