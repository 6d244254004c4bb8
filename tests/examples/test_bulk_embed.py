"""The examples of bulk work on Ray and Daft: run twice, they ask once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lunos_local import LocalGateway

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def run(name: str, state: Path, gateway: LocalGateway) -> list[str]:
    service = {"LUNOS_BASE_URL": gateway.base_url, "LUNOS_API_KEY": gateway.api_key}
    code = f"import runpy, sys; sys.argv = ['x', {str(state)!r}]; sys.path.insert(0, 'examples')\n"
    code += f"runpy.run_path('examples/{name}', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **service},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def asked(gateway: LocalGateway) -> list[dict[str, Any]]:
    """What was asked of models: a budget looks at the catalog's prices, too."""
    return [request for request in gateway.requests() if request["model"]]


def test_a_ray_pipeline_embeds_and_extracts_and_pays_once(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with LocalGateway() as gateway:
        lines = run("bulk_embed.py", tmp_path, gateway)
        first = len(asked(gateway))
        assert run("bulk_embed.py", tmp_path, gateway) == lines
        assert len(asked(gateway)) == first == 1 + 3
    assert [line.split()[:2] for line in lines] == [
        *(["0", "1536"], ["1", "1536"], ["2", "1536"], ["3", "None"], ["4", "1536"]),
    ]
    assert '"place"' in lines[0]
    assert lines[0].split(" ", 1)[1] == lines[2].split(" ", 1)[1]
    assert lines[3] == "3 None ValueError: 'text' isn't text, or is empty: str"


def test_a_daft_frame_is_embedded_by_the_same_workers(tmp_path: Path) -> None:
    pytest.importorskip("daft")
    with LocalGateway() as gateway:
        lines = run("bulk_daft.py", tmp_path, gateway)
        assert run("bulk_daft.py", tmp_path, gateway) == lines
        (request,) = asked(gateway)
    assert len(request["body"]["input"]) == 2
    assert [line.rpartition(" ")[2] for line in lines if line] == ["1536", "1536", "1536", "None"]
