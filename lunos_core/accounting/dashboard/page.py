"""The dashboard as one self-contained HTML page."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from lunos_core.accounting.dashboard.facts import dashboard_facts
from lunos_core.accounting.files import write_whole

if TYPE_CHECKING:
    from lunos_core.accounting.store import Moment, UsageStore


def write_page(store: UsageStore, path: str | os.PathLike[str], *, since: Moment) -> None:
    """Write the current page, which needs no server.

    Raises:
        OSError: it can't be written.
        ValueError: `since` isn't a point in time.
        LunosConfigError: the store can't be read.
    """
    page = page_of({**dashboard_facts(store, since=since), "live": False})
    write_whole(path, page.encode("utf-8", "replace"))


def page_of(facts: dict[str, Any]) -> str:
    """Return the page that shows these facts.

    Browsers run only its own scripts, never the text of an app id, which is data.
    """
    text = json.dumps(facts).replace("<", "\\u003c")  # nothing inside may end the script
    return _page().safe_substitute(facts=text)


@functools.cache
def _page() -> Template:
    """Return the page without facts; its policy names each script and style by its hash."""
    folder = files("lunos_core.accounting.dashboard")
    parts = {
        name: folder.joinpath(file).read_text(encoding="utf-8")
        for name, file in (
            *(("uplot", "uPlot.iife.min.js"), ("uplot_style", "uPlot.min.css")),
            *(("script", "page.js"), ("style", "page.css")),
        )
    }
    digests = {name: hashlib.sha256(text.encode()).digest() for name, text in parts.items()}
    hashes = {name: f"'sha256-{base64.b64encode(it).decode()}'" for name, it in digests.items()}
    policy = (
        f"default-src 'none'; script-src {hashes['uplot']} {hashes['script']}; "
        f"style-src {hashes['uplot_style']} {hashes['style']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'self'"
    )
    page = folder.joinpath("page.html").read_text(encoding="utf-8")
    # not by Template: the scripts contain dollar signs
    for name, text in {**parts, "policy": policy}.items():
        page = page.replace(f"${{{name}}}", text.replace("$", "$$"))
    return Template(page)
