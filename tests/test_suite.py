"""What holds for the tests themselves."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# Of the library and of JAX: they raise for whatever does not hold.
CHECKS = {
    "check_augment",
    "check_grads",
    "check_learner",
    "check_network",
    "check_objective",
    "check_wrapper",
    "fail",
}
OLD = {"rand", "randn", "normal", "uniform", "randint", "choice", "permutation", "shuffle"}


@functools.cache
def _names(function: ast.FunctionDef) -> set[str]:
    """Every name in a function: of what it calls, hands on, or is given as a fixture."""
    found = {argument.arg for argument in function.args.args}
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
    return found


def _asserts(function: ast.FunctionDef) -> bool:
    if any(isinstance(node, ast.Assert) for node in ast.walk(function)):
        return True
    names = _names(function)
    return bool(names & {"raises", "warns"}) or any(n.startswith("assert_") for n in names)


def _that_assert(functions: list[ast.FunctionDef]) -> set[str]:
    """Those that assert, or that use one that does."""
    found = {f.name for f in functions if _asserts(f)}
    while more := {f.name for f in functions if f.name not in found and _names(f) & found}:
        found |= more
    return found


def test_every_test_asserts_something():
    """By itself or through a helper: a test that asserts nothing fails for a crash alone."""
    shared = [f for path in FILES if path.name == "conftest.py" for f in _functions(path)]
    silent = []
    for path in FILES:
        functions = _functions(path)
        helpers = [f for f in [*functions, *shared] if not f.name.startswith("test_")]
        asserting = _that_assert(helpers) | CHECKS
        silent += [
            f"{path.relative_to(ROOT)}::{f.name}"
            for f in functions
            if f.name.startswith("test_") and not _asserts(f) and not _names(f) & asserting
        ]
    assert not silent


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def _functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef)]


def test_a_silent_test_is_seen():
    source = (
        "def helper(x):\n  assert x\ndef test_a():\n  helper(1)\ndef test_b():\n  print(helpe)\n"
    )
    functions = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    asserting = _that_assert(functions[:1])
    assert [bool(_names(f) & asserting) for f in functions[1:]] == [True, False]


def test_no_test_draws_unseeded_numbers():
    """Neither from NumPy's global generator nor from one without a seed."""
    unseeded = []
    for path in FILES:
        for node in ast.walk(_tree(path)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            whose = ast.unparse(node.func)
            alone = whose.endswith("random.default_rng") and not node.args
            old = whose.startswith("np.random.") and whose.split(".")[2] in OLD
            if alone or old:
                unseeded.append(f"{path.name}:{node.lineno} {whose}")
    assert not unseeded
