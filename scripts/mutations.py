"""The changes that `make mutants` makes of the code, and which of them it chooses."""

from __future__ import annotations

import ast
import collections
import functools
import itertools
import random
from collections.abc import Iterable
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from reach import ROOT

# a decorator that is taken off is mostly a syntax of the framework, and every test fails; whether
# `is` or `==` stands before a constant is a question of style
LEFT_OUT = (
    "core/RemoveDecorator",
    *(
        f"core/ReplaceComparisonOperator_{pair}"
        for pair in ("Is_Eq", "IsNot_NotEq", "Eq_Is", "NotEq_IsNot")
    ),
)


class Mutant(NamedTuple):
    """One change: which file, by which operator, at its how-manieth place."""

    path: str
    operator: str
    occurrence: int


class Change(NamedTuple):
    """What a mutant makes of its file, and the first line that differs."""

    after: str
    number: int
    old: str
    new: str


def mutants_of(path: str) -> Iterable[Mutant]:
    """Every mutant of a file."""
    tree = get_ast((ROOT / path).read_text("utf-8"))
    nodes = list(ast_nodes(tree))
    for name in sorted(operator_names()):
        operator_class = get_operator(name)
        if name in LEFT_OUT or operator_class.arguments():
            continue
        operator = operator_class()
        count = sum(1 for node in nodes for _ in operator.mutation_positions(node))
        for occurrence in range(count):
            yield Mutant(path, name, occurrence)


@functools.lru_cache(2)  # the code before is asked for each of its mutants
def without_hints(source: str, *, fields_too: bool) -> str:
    """The code without the annotations that nothing reads at run time.

    pydantic reads those of its models' fields, which the adapters have and the core has not.
    """
    tree = ast.parse(source)
    nodes = [*ast.walk(tree)]
    fields = {item for node in nodes if isinstance(node, ast.ClassDef) for item in node.body}
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign) and (fields_too or node not in fields):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)


def change_of(mutant: Mutant) -> Change | None:
    """What the mutant changes; None where that is a hint alone, or no Python."""
    before = (ROOT / mutant.path).read_text("utf-8")
    try:
        after = mutate_code(before, get_operator(mutant.operator)(), mutant.occurrence) or before
    except AttributeError:  # Cosmic Ray stumbles over `except module.Name`
        return None
    try:
        core = mutant.path.startswith("lunos_core/")
        if without_hints(before, fields_too=core) == without_hints(after, fields_too=core):
            return None
    except SyntaxError:  # Cosmic Ray takes the bare `*` of a signature for an operator
        return None
    pairs = enumerate(zip(before.splitlines(), after.splitlines(), strict=False), 1)
    number, (old, new) = next((item for item in pairs if item[1][0] != item[1][1]), (1, ("", "")))
    if "*," in old and new.count("/,") > old.count("/,"):
        return None  # a signature's bare `*` is no multiplication: the callers would be the same
    return Change(after, number, old.strip(), new.strip())


def place_of(mutant: Mutant) -> tuple[str, str, int]:
    """What the changes of one operator sign share."""
    path, operator, occurrence = mutant
    if "Operator_" in operator:  # such as ReplaceBinaryOperator_Add_Sub
        operator = operator.rpartition("_")[0]
    return path, operator, occurrence


def chosen_changes(
    paths: list[str], most: int, seed: int, *, together: bool
) -> list[tuple[Mutant, Change]]:
    """At most so many changes of each file, or of all together, each at a place of its own."""
    chosen = []
    for group in [paths] if together else [[path] for path in paths]:
        places = collections.defaultdict(list)
        for path in group:
            for mutant in mutants_of(path):
                places[place_of(mutant)].append(mutant)
        chance = random.Random(f"{seed} {' '.join(group)}")
        firsts = (
            first_change(place, chance) for place in chance.sample([*places.values()], len(places))
        )
        chosen += itertools.islice(filter(None, firsts), most)
    return sorted(chosen)


def first_change(place: list[Mutant], chance: random.Random) -> tuple[Mutant, Change] | None:
    """By chance one of the mutants of a place that change the code; None where none does."""
    changes = ((mutant, change_of(mutant)) for mutant in chance.sample(place, len(place)))
    return next(((mutant, change) for mutant, change in changes if change), None)
