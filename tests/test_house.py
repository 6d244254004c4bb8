"""The house of the six packages: which room may import which, and how large each may grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "lunos_core",
    "langchain_lunos",
    "llama_index_lunos",
    "lunos_local",
    "lunos_cli",
    "lunos_bulk",
)

# A room of the core may import the rooms below it, never one above or beside it.
ALLOWED = {
    "__init__": {"_version", "app_id", "lazy"},
    "compatibility": {
        *("catalog", "transport", "endpoints", "request", "accounting", "wire", "config"),
        *("errors", "_version"),
    },
    "sdk": {
        *("catalog", "transport", "endpoints", "request", "accounting", "config", "errors"),
        "lazy",
    },
    "adapters": {
        "forks",
        *("catalog", "transport", "endpoints", "request", "accounting", "config", "errors"),
        *("arguments", "_plain_http"),
    },
    "catalog": {
        *("transport", "request", "accounting", "logs", "wire", "config", "errors", "lazy"),
        "forks",
    },
    "transport": {
        *("request", "app_id", "logs", "accounting", "wire", "config", "errors"),
        *("lazy", "_version", "forks"),
    },
    "endpoints": {
        *("request", "logs", "accounting", "wire", "config", "errors", "lazy", "arguments"),
    },
    "request": {"wire", "config", "errors", "_version"},
    "logs": {"wire", "errors"},
    "app_id": {"arguments"},
    "accounting": {"logs", "wire", "config", "errors", "lazy", "forks"},
    "wire": {"errors"},
    "config": {"errors", "lazy", "_plain_http", "arguments"},
    "arguments": {"errors"},
    "errors": set[str](),
    "forks": set[str](),
    "lazy": set[str](),
    "_plain_http": set[str](),
    "_version": set[str](),
}


@cache
def modules() -> dict[str, Path]:
    """Each module of the six packages, by its dotted name."""
    named = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


@cache
def imports(module: str) -> frozenset[tuple[str, str | None]]:
    """What a module imports at run time, in functions too: (module, name or `None`)."""
    return frozenset(_imports(ast.parse(modules()[module].read_text("utf-8"))))


def _imports(node: ast.AST) -> Iterator[tuple[str, str | None]]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        for child in node.orelse:
            yield from _imports(child)
        return
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, None
    if isinstance(node, ast.ImportFrom):
        assert not node.level, "imports are written in full here"
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield (whole, None) if whole in modules() else (node.module or "", alias.name)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child)


def room_of(module: str) -> str:
    """The file or folder directly in `lunos_core` that a module of the core lies in."""
    _, _, inside = module.partition(".")
    return inside.partition(".")[0] or "__init__"


def arrows() -> dict[str, set[str]]:
    """Which rooms of the core each room imports."""
    drawn: dict[str, set[str]] = {}
    for module in modules():
        if module.partition(".")[0] == "lunos_core":
            others = {room_of(name) for name, _ in imports(module) if name in CORE}
            drawn.setdefault(room_of(module), set()).update(others - {room_of(module)})
    return drawn


CORE = {name for name in modules() if name.partition(".")[0] == "lunos_core"}


@pytest.mark.parametrize("room", sorted({*map(room_of, CORE)}))
def test_a_room_of_the_core_imports_only_what_lies_below_it(room: str) -> None:
    assert room in ALLOWED, "a new room: say here what it may import"
    assert arrows()[room] <= ALLOWED[room]


def test_the_core_has_at_most_twenty_rooms_on_at_most_eight_floors() -> None:
    drawn = arrows()
    assert len(drawn) <= 20

    def floor(room: str, above: tuple[str, ...] = ()) -> int:
        assert room not in above, f"a cycle: {[*above, room]}"
        return 1 + max((floor(below, (*above, room)) for below in drawn[room]), default=0)

    assert max(map(floor, drawn)) <= 8


def test_no_file_imports_a_file_that_imports_it() -> None:
    done: set[str] = set()

    def follow(module: str, path: tuple[str, ...] = ()) -> None:
        assert module not in path, f"a cycle: {[*path, module]}"
        if module not in done:
            for other, _ in imports(module):
                if other in modules():
                    follow(other, (*path, module))
            done.add(module)

    for module in modules():
        follow(module)


def test_no_package_is_imported_from_inside_itself() -> None:
    wrong = [
        (module, other)
        for module in modules()
        for other, _ in imports(module)
        if f"{module}.".startswith(f"{other}.")
        and module != other
        and modules().get(other, Path()).name == "__init__.py"
    ]
    assert wrong == []


def private(name: str) -> bool:
    """Whether a name is for its own package alone."""
    return name.startswith("_") and not name.startswith("__")


def test_no_name_with_an_underscore_crosses_a_package_border() -> None:
    crossing = [
        (module, other, name)
        for module in modules()
        for other, name in imports(module)
        if other.partition(".")[0] in PACKAGES
        and other.partition(".")[0] != module.partition(".")[0]
        and any(map(private, [*other.split("."), name or ""]))
    ]
    assert crossing == []


def test_no_underscored_attribute_of_another_package_is_read() -> None:
    wrong = []
    for module, path in modules().items():
        tree = ast.parse(path.read_text("utf-8"))
        foreign = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
            if (getattr(node, "module", None) or alias.name).partition(".")[0]
            in set(PACKAGES) - {module.partition(".")[0]}
        }
        wrong += [
            (module, node.value.id, node.attr)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if node.value.id in foreign and private(node.attr)
        ]
    assert wrong == []


def test_only_the_transport_knows_httpx() -> None:
    knowing = {
        module
        for module in modules()
        for other, _ in imports(module)
        if other.partition(".")[0] in ("httpx", "httpcore", "aiohttp", "httpx_aiohttp")
    }
    outside = {name for name in knowing if not name.startswith("lunos_core.transport.")}
    # for the types of public signatures, which frameworks resolve at run time
    assert outside <= {
        "langchain_lunos._settings",
        "llama_index_lunos._settings",
        "lunos_core.adapters",
        "lunos_core.sdk.clients",
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_has_more_than_400_lines(package: str) -> None:
    lines = {
        name: len(path.read_text("utf-8").splitlines())
        for name, path in modules().items()
        if name.partition(".")[0] == package
    }
    assert {name: count for name, count in lines.items() if count > 400} == {}
