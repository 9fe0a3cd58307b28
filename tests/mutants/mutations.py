"""The mutations: cosmic-ray's operators, where no two say the same, and three of our own."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator
from parso.python import tree

COMPARED = re.compile(r" (==|!=|is|not|<|>|<=|>=) ")
OF_A_TYPE = re.compile(r"_?[A-Z]\w+ = (Callable|Literal|dict|tuple)\[")
KEYWORDS_ONLY = re.compile(r"[(,] \*,|^\*,|\(\*,")
COSMIC_RAY = [
    *(
        f"core/ReplaceComparisonOperator_{pair}"
        for pair in (
            *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
            *("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
        )
    ),
    # Not `|`, which stands in annotations mostly, where nothing looks at it.
    *(f"core/ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div")),
    *(f"core/ReplaceBinaryOperator_{pair}" for pair in ("Div_Mul", "FloorDiv_Mul", "Mod_Add")),
    *("core/ReplaceUnaryOperator_Delete_Not", "core/ReplaceUnaryOperator_Delete_USub"),
    *("core/AddNot", "core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue"),
    *("core/ReplaceAndWithOr", "core/ReplaceOrWithAnd", "core/ReplaceBreakWithContinue"),
    *("core/ReplaceContinueWithBreak", "core/NumberReplacer"),
    *("core/RemoveDecorator", "core/ZeroIterationForLoop"),
]


class _Own(Operator):
    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if self.fits(node):
            yield node.start_pos, node.end_pos

    def fits(self, node: Any) -> bool:
        raise NotImplementedError

    @classmethod
    def examples(cls) -> Iterable[Any]:
        return ()


class RemoveStatement(_Own):
    """A call or an assignment is left out."""

    def fits(self, node: Any) -> bool:
        if node.parent is None or node.parent.type != "simple_stmt":
            return False
        if node.type == "expr_stmt":
            return not any(child.type == "annassign" for child in node.children)
        return node.type in ("atom_expr", "power", "await_expr", "del_stmt", "raise_stmt")

    def mutate(self, node: Any, index: int) -> Any:
        return tree.Keyword("pass", node.start_pos, node.get_first_leaf().prefix)


class ReturnNone(_Own):
    """A function returns nothing. (`False` is as good as `None`, and another operator's.)"""

    def fits(self, node: Any) -> bool:
        if node.type != "return_stmt":
            return False
        return node.children[1].get_code().strip() not in ("None", "False")

    def mutate(self, node: Any, index: int) -> Any:
        return tree.Keyword("return", node.start_pos, node.get_first_leaf().prefix)


class ChangeText(_Own):
    """A text is another one: in what is decided by it or looked up by it, not in sentences."""

    def fits(self, node: Any) -> bool:
        if node.type != "string" or " " in node.value or _is_type(node):
            return False
        return node.parent.type != "simple_stmt" and node.value[-2] not in "'\""

    def mutate(self, node: Any, index: int) -> Any:
        return tree.String(f"{node.value[:-1]}XX{node.value[-1]}", node.start_pos, node.prefix)


class ReplaceException(_Own):
    """Another error is caught. (cosmic-ray's operator stops at `except module.Error`.)"""

    def fits(self, node: Any) -> bool:
        if node.parent is not None and node.parent.type == "testlist_comp":  # `except (A, B):`
            return node.type != "operator" and _is_caught(node.parent.parent)
        return node.type != "atom" and _is_caught(node)

    def mutate(self, node: Any, index: int) -> Any:
        return tree.Name("CosmicRayTestingException", node.start_pos, node.get_first_leaf().prefix)


def _is_caught(node: Any) -> bool:
    around = node.parent
    return around is not None and around.type == "except_clause" and node is around.children[1]


def _is_type(node: Any) -> bool:
    """Whether it stands where mypy looks at it and nothing else: as a type, in a `Literal[...]`."""
    around = node.parent
    if around.type == "funcdef" or (around.type == "tfpdef" and node is around.children[2]):
        return True
    while node is not None and node.type != "trailer":
        node = node.parent
    return node is not None and node.get_previous_sibling().get_code().strip() == "Literal"


OWN = {
    operator.__name__: operator
    for operator in (RemoveStatement, ReturnNone, ChangeText, ReplaceException)
}


@dataclass(frozen=True)
class Mutant:
    """One change of one module: the `occurrence`-th place where the operator fits."""

    module: str
    operator: str
    occurrence: int
    line: int
    before: str
    after: str
    code: str

    @property
    def name(self) -> str:
        return f"{self.module}:{self.line} {self.operator.removeprefix('core/')}"


def mutants_of(root: Path, module: str) -> list[Mutant]:
    """Every mutant of a module, each changed text once."""
    source = (root / module).read_text("utf-8")
    nodes = list(ast_nodes(get_ast(source)))
    found: dict[str, Mutant] = {}
    for operator in [*COSMIC_RAY, *OWN]:
        make = OWN.get(operator) or get_operator(operator)
        positions = [
            (node, index, line)
            for node in nodes
            for index, ((line, _), _) in enumerate(make().mutation_positions(node))
        ]
        for occurrence, (node, index, line) in enumerate(positions):
            code = mutated(source, node, make(), index)
            if code == source or not compiles(code):
                continue
            before, after = first_difference(source, code)
            if operator == "core/AddNot" and COMPARED.search(before):
                continue  # turning the comparison round says the same
            is_without_slots = before.replace("slots=True", "slots=False") == after
            if is_without_slots or (before.startswith("__slots__") and after == "pass"):
                continue  # they save memory, and nothing asks for other attributes
            if before == "if TYPE_CHECKING:" or (after == "pass" and OF_A_TYPE.match(before)):
                continue  # what mypy alone looks at
            if KEYWORDS_ONLY.search(before) and "/" in after:
                continue  # the `*` of a signature
            found.setdefault(code, Mutant(module, operator, occurrence, line, before, after, code))
    return sorted(found.values(), key=lambda mutant: (mutant.line, mutant.operator))


def mutated(source: str, node: Any, operator: Operator, index: int) -> str:
    """The source with one node changed: a copy of it, since operators change what they get."""
    one = copy.deepcopy(node, {id(node.parent): node.parent})
    begin = _offset(source, node.get_start_pos_of_prefix())
    changed = operator.mutate(one, index)  # None where it is left out
    text = "" if changed is None else changed.get_code()
    return source[:begin] + text + source[_offset(source, node.end_pos) :]


def _offset(source: str, position: tuple[int, int]) -> int:
    line, column = position
    return sum(map(len, source.splitlines(keepends=True)[: line - 1])) + column


def compiles(code: str) -> bool:
    try:
        compile(code, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def first_difference(source: str, code: str) -> tuple[str, str]:
    """The first line that differs, before and after."""
    for before, after in zip(source.splitlines(), code.splitlines(), strict=False):
        if before != after:
            return before.strip(), after.strip()
    return "", ""
