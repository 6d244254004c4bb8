"""Print the results of `nox --report`, one row per session, with the versions it ran with.

python scripts/matrix_table.py .nox/report.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree


def counts(report: Path) -> str:
    """Return pytest's own numbers, from its JUnit file."""
    suite = ElementTree.parse(report).getroot().find("testsuite")  # noqa: S314 (our own file)
    if suite is None:
        return ""
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    skipped = int(suite.get("skipped", 0))
    passed = int(suite.get("tests", 0)) - failed - skipped
    return f"{passed} passed, {failed} failed, {skipped} skipped"


def rows(report: Path) -> list[dict[str, str]]:
    """Return one row for each session of the report, in its order."""
    result = []
    for session in json.loads(report.read_text("utf-8"))["sessions"]:
        name = session["signatures"][0]
        versions = report.parent / f"{name}.versions.json"
        junit = report.parent / f"{name}.xml"
        row = {"session": name, **(json.loads(versions.read_text()) if versions.exists() else {})}
        row["result"] = session["result"].lower()
        row["tests"] = counts(junit) if junit.exists() else ""
        result.append(row)
    return result


def table(result: list[dict[str, str]]) -> str:
    """Format the rows as Markdown."""
    columns = list(dict.fromkeys(name for row in result for name in row))
    columns = [name for name in columns if name not in ("result", "tests")] + ["result", "tests"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row.get(name, "-") for name in columns) + " |" for row in result]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(rows(Path(sys.argv[1]))))
