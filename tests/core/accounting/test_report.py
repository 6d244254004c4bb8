"""What a ledger's rows look like: as a table, a CSV and a picture."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lunos_core.accounting import report
from lunos_core.accounting.files import replacing, write_whole
from lunos_core.accounting.report import (
    aligned,
    app_table,
    csv_text,
    plot,
    to_table,
    totals,
    visible,
)
from lunos_core.accounting.totals import COLUMNS, COUNTED

ROW: dict[str, Any] = {
    "app_id": "a", "model": "m", "endpoint": "/c", **dict.fromkeys(COUNTED, 2),
    "cost": 0.1, "seconds": 1.25, "first_token_seconds": None,
}  # fmt: skip
OTHER = {**ROW, "app_id": "longer", "cost": None, "first_token_seconds": 0.5}


def cells(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]


def test_a_table_has_its_sums_in_the_last_of_several_rows() -> None:
    numbers = ["2"] * 7
    assert cells(to_table([ROW, OTHER]))[1:] == [
        ["a", "m", "/c", *numbers, "0.100000", "1.250", "-"],
        ["longer", "m", "/c", *numbers, "-", "1.250", "0.500"],
        ["total", "-", "-", *["4"] * 7, "0.100000", "2.500", "-"],
    ]
    assert [row[0] for row in cells(to_table([ROW]))] == ["app_id", "a"]
    assert cells(to_table([ROW, OTHER], ("calls", "cost"), 0)) == [
        *(["calls", "cost"], ["2", "0.100000"], ["2", "-"]),
    ]


def test_columns_are_as_wide_as_their_widest_cell_names_left_and_numbers_right() -> None:
    assert to_table([ROW, OTHER], ("app_id", "calls", "cost"), 1).splitlines() == [
        "app_id  calls      cost",
        "a           2  0.100000",
        "longer      2         -",
        "total       4  0.100000",
    ]


def test_a_table_wider_than_the_terminal_has_a_block_for_each_row_and_loses_nothing() -> None:
    columns = ("app_id", "calls", "cost")
    assert to_table([ROW, OTHER], columns, 1, width=23).startswith("app_id  calls")
    assert to_table([ROW, OTHER], columns, 1, width=22).splitlines() == [
        *("app_id  a", "calls   2", "cost    0.100000", ""),
        *("app_id  longer", "calls   2", "cost    -", ""),
        *("app_id  total", "calls   4", "cost    0.100000"),
    ]


def test_apps_are_shown_with_calls_tokens_and_cost_and_their_sums() -> None:
    rows = [ROW, {**ROW, "calls": 1000, "input_tokens": 5000}, OTHER]
    assert app_table(rows).splitlines() == [
        "app     calls  tokens  cost in USD",
        "a       1,002   5,006     0.200000",
        "longer      2       4            -",
        "total   1,004   5,010     0.200000",
    ]
    assert len(app_table([ROW]).splitlines()) == 2


def test_a_narrow_terminal_gets_the_first_column_and_the_last() -> None:
    lines = [["a", "b", "c", "d"], ["1", "2", "3", "4"]]
    for width, shown in ((10, "a  b  c  d"), (9, "a  c  d"), (6, "a  d"), (1, "a  d")):
        assert aligned(lines, 2, width).splitlines()[0] == shown
    lines = [[*"abcde"], [*"12345"]]
    for width, shown in ((12, "a  b  d  e"), (9, "a  d  e"), (6, "a  e")):
        assert aligned(lines, 3, width).splitlines()[0] == shown
    assert visible("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_a_column_that_no_row_knows_has_no_sum() -> None:
    rows = [dict.fromkeys(COUNTED, 1) | {"cost": None}] * 2
    assert totals(rows) == {**dict.fromkeys(COUNTED, 2), "cost": None, "seconds": None}
    assert totals([ROW, OTHER])["cost"] == 0.1


def test_control_characters_are_spelled_out_in_a_table_and_a_csv() -> None:
    assert [visible(text) for text in ("ä b", "a\nb\x1b")] == ["ä b", "a\\nb\\x1b"]
    text = csv_text([{**ROW, "app_id": "a\nb", "model": "=1\n"}])
    assert text.splitlines()[1].startswith("a\\nb,'=1\\n,/c,2,")
    assert text.splitlines()[0] == ",".join(COLUMNS)


# --- pictures ------------------------------------------------------------------------------------

BEGIN = 1_764_072_000.0
# a machine's first plot lists its fonts with another program
plots = pytest.mark.subprocess


@plots
@pytest.mark.parametrize(
    ("seconds", "dates", "year"),
    [
        (0.0, ["59.0", "12:00", "01.0"], "2025-Nov-25 12:00"),
        (3600.0, ["12:00", "12:30", "13:00"], "2025-Nov-25"),
        (172_800.0, ["12:00", "Nov-26", "Nov-27"], "2025-Nov-27"),
        (90 * 86_400.0, ["Dec", "Jan", "Feb"], "2026-Feb"),
    ],
)
def test_a_plot_has_an_axis_of_dates(seconds: float, dates: list[str], year: str) -> None:
    pytest.importorskip("matplotlib")
    history = {"a": [(BEGIN, 0.1, 5), (BEGIN + seconds, 0.3, 9)], "silent": []}
    figure = plot(history)
    figure.draw_without_rendering()
    above, below = figure.axes
    assert below.get_xlabel() == "UTC"
    shown = [label.get_text() for label in below.get_xticklabels()]
    assert set(dates) <= set(shown), shown
    assert below.xaxis.get_offset_text().get_text() == year
    (line,) = above.lines
    moments = [datetime.fromtimestamp(BEGIN + passed, UTC) for passed in (0, 0, seconds, seconds)]
    assert list(line.get_xdata()) == moments
    assert list(line.get_ydata()) == [0, 0.1, 0.3, 0.3]
    assert list(below.lines[0].get_ydata()) == [0, 5, 9, 9]
    assert above.get_xlim() == below.get_xlim()  # a moment is at one place in both


@plots
@pytest.mark.parametrize(("cost", "is_said"), [(0.0, True), (0.1, False)])
def test_a_plot_states_that_nothing_was_charged(cost: float, is_said: bool) -> None:
    pytest.importorskip("matplotlib")
    above, below = plot({"a": [(BEGIN, cost, 5)]}).axes
    assert [text.get_text() for text in above.texts] == (
        ["a", "nothing was charged, as far as is known"] if is_said else ["a"]
    )
    assert [axis.get_ylabel() for axis in (above, below)] == ["cost so far, USD", "tokens so far"]


@plots
def test_a_long_name_is_cut_and_none_is_left_out() -> None:
    pytest.importorskip("matplotlib")
    most = report._LONGEST_LABEL
    names = ["x" * most, "y" * (most + 1), "_hidden", "$a$\n"]
    above, below = plot({name: [(BEGIN, 0.1, 5)] for name in names}).axes
    shown = ["x" * most, "y" * most + "…", " _hidden", "$a$\\n"]
    for panel in (above, below):
        assert [text.get_text() for text in panel.texts] == shown
        assert not any(text.get_parse_math() for text in panel.texts)


@plots
@pytest.mark.parametrize("costs", [[1.0] * 10, [0.0] * 9 + [5.0], [0.1 * i for i in range(10)]])
def test_each_line_has_its_name_at_its_end_and_no_name_lies_on_another(costs: list[float]) -> None:
    Text = pytest.importorskip("matplotlib.text").Text
    figure = plot({f"app {i}": [(BEGIN, cost, 5)] for i, cost in enumerate(costs)})
    figure.draw_without_rendering()
    above, _ = figure.axes
    # of the words alone, without the line that leads to them
    boxes = [Text.get_window_extent(text) for text in above.texts]
    assert len(boxes) == 10
    assert all(-1e-9 <= text.xyann[1] <= 1 for text in above.texts)
    for i, box in enumerate(boxes):
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:i])
    colors = {line.get_label(): line.get_color() for line in above.lines}
    assert {text.get_text(): text.get_color() for text in above.texts} == colors


def test_names_of_a_table_are_left_and_numbers_right() -> None:
    lines = report.aligned([["app", "calls"], ["a", "5"], ["bbbb", "1000000"]], 1).splitlines()
    assert lines == ["app     calls", "a           5", "bbbb  1000000"]


@plots
def test_a_name_is_as_high_as_the_end_of_its_line() -> None:
    pytest.importorskip("matplotlib")
    history = {
        name: [(BEGIN, cost / 8, 2), (BEGIN + 9, cost, 5)] for name, cost in [("a", 0.5), ("b", 1)]
    }
    above, _ = plot(history).axes
    highest = above.get_ylim()[1]
    assert [text.xyann[1] * highest for text in above.texts] == pytest.approx([0.5, 1.0])
    assert all(text.xyann[0] > 1 for text in above.texts)  # beside the picture
    ends = {line.get_label(): (line.get_xdata()[-1], line.get_ydata()[-1]) for line in above.lines}
    assert {text.get_text(): tuple(text.xy) for text in above.texts} == ends


@plots
def test_eleven_apps_are_the_nine_dearest_and_the_rest() -> None:
    pytest.importorskip("matplotlib")
    history = {f"a{i:02}": [(BEGIN + i, 0.1 * i, i)] for i in range(1, 12)}
    above, below = plot(history).axes
    labels = [line.get_label() for line in above.lines]
    assert labels == [*(f"a{i:02}" for i in range(11, 2, -1)), "other"]
    assert above.lines[-1].get_ydata()[-1] == pytest.approx(0.3)
    assert below.lines[-1].get_ydata()[-1] == 3
    assert len(plot({name: history[name] for name in [*history][:10]}).axes[0].lines) == 10


# --- files ---------------------------------------------------------------------------------------


def test_a_new_file_has_the_usual_permissions_and_nothing_is_left_beside_it(
    tmp_path: Path,
) -> None:
    usual, written = tmp_path / "usual", tmp_path / ("n" * 200)
    usual.write_bytes(b"")
    write_whole(written, b"a")
    assert written.stat().st_mode == usual.stat().st_mode
    assert sorted(tmp_path.iterdir()) == sorted([usual, written])
    usual.chmod(0o604)
    write_whole(usual, b"b")
    assert (usual.stat().st_mode & 0o7777, usual.read_bytes()) == (0o604, b"b")


@pytest.mark.parametrize("old", [b"old", None])
def test_a_block_that_raises_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, old: bytes | None
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)

    def interrupted() -> None:
        with replacing(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [item.read_bytes() for item in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_special_file_is_written_in_place(tmp_path: Path) -> None:
    import os
    import threading

    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"a")
    reader.join(10)
    assert (got, [*tmp_path.iterdir()]) == ([b"a"], [pipe])
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path, b"a")
