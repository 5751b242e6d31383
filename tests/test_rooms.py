"""Imports go down only: each room of the library may import the rooms that docs/design.md gives it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = "gtn_ebm"

ROOM_OF = {  # modules that share a room; any other module or package of the library is a room of its own
    "crf": "factor_graph",
    "arguments": "graph",
    "errors": "graph",
    "parallel": "graph",
    "symbols": "graph",
}
BELOW_TRANSFORMERS = {"graph", "kernels", "distance", "semiring", "ops", "inference", "dense", "losses"}
BELOW_COMPAT = BELOW_TRANSFORMERS | {"factor_graph", "transformers", "io", "draw"}
MAY_IMPORT: dict[str, set[str]] = {
    "kernels": set(),
    "graph": {"kernels"},
    "distance": {"graph", "kernels"},
    "semiring": {"graph", "distance", "kernels"},
    "ops": {"graph", "distance", "semiring", "kernels"},
    "inference": {"graph", "distance", "semiring", "ops", "kernels"},
    "dense": {"graph", "distance", "ops", "inference", "kernels"},
    "losses": {"graph", "distance", "ops", "inference", "dense"},
    "factor_graph": {"graph", "distance", "inference", "kernels"},
    "transformers": BELOW_TRANSFORMERS,
    "warmup": BELOW_TRANSFORMERS | {"factor_graph"},
    "io": {"graph"},
    "draw": {"graph", "ops", "inference", "io"},
    "compat": BELOW_COMPAT,
    "cli": BELOW_COMPAT,
    "__main__": {"cli"},
    "__init__": BELOW_COMPAT | {"warmup"},
}
OUTSIDE = {"recipes", "benchmarks", "notebooks", "tests"}
SHARED_BY_RECIPES = {"checkpoint", "commands", "images", "models", "processes"}
LAZY = {("graph", "Graph._repr_svg_", "draw")}
"""Imports up that are allowed because they happen on a call: module, function, room."""


def _imports(tree: ast.AST, function: str = "") -> Iterator[tuple[str, str]]:
    """Each imported name in full, with the function it is imported in ("" at the top)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by the full name"
            yield from ((f"{node.module}.{alias.name}", function) for alias in node.names)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imports(node, f"{function}.{node.name}".lstrip("."))
        else:
            yield from _imports(node, function)


def _room(name: str) -> str:
    """The room of a dotted name such as gtn_ebm.ops.compose; the package itself is the room __init__."""
    part = name.split(".")[1] if "." in name else "__init__"
    if not any((ROOT / LIBRARY / place).exists() for place in (part, f"{part}.py")):
        part = "__init__"  # from gtn_ebm import Graph
    return ROOM_OF.get(part, part)


def _is_wrong(module: str, function: str, name: str) -> bool:
    room, package, wanted = _room(f"{LIBRARY}.{module}"), name.split(".")[0], _room(name)
    if package != LIBRARY:
        return package in OUTSIDE or (room == "kernels" and package == "torch")
    allowed = MAY_IMPORT[room] | ({room} if room != "kernels" else set())
    return wanted not in allowed and (module, function, wanted) not in LAZY


def _wrong_imports(module: str, source: str) -> list[str]:
    return [name for name, function in _imports(ast.parse(source)) if _is_wrong(module, function, name)]


def _modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", _modules(LIBRARY), ids=lambda path: str(path.relative_to(ROOT)))
def test_library_module_imports_only_the_rooms_below(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT / LIBRARY).with_suffix("").parts)
    assert _wrong_imports(module, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", _modules("recipes"), ids=lambda path: str(path.relative_to(ROOT)))
def test_recipe_imports_only_itself_and_the_library(path: Path) -> None:
    own = path.relative_to(ROOT / "recipes").parts[0].removesuffix(".py")
    allowed = {own} if own in SHARED_BY_RECIPES else {own, *SHARED_BY_RECIPES}
    for name, _ in _imports(ast.parse(path.read_text(encoding="utf-8"))):
        package, *rest = name.split(".")
        assert package not in ("benchmarks", "notebooks", "tests")
        assert package != "recipes" or rest[0] in allowed


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("kernels.lattice", "import torch"),
        ("kernels.lattice", "from gtn_ebm.kernels.structure import group"),
        ("ops.compose", "def late():\n    from gtn_ebm.inference import best_path"),
        ("inference.free_energy", "import gtn_ebm.draw"),
        ("io.text", "from gtn_ebm import Graph"),
        ("graph", "from gtn_ebm.draw import svg"),
        ("draw", "if True:\n    from recipes.check_reader import data"),
    ],
)
def test_import_upwards_is_found(module: str, source: str) -> None:
    assert len(_wrong_imports(module, source)) == 1
