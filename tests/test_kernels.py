"""What stands in several kernels' files, for numba's cache to notice edits, is the same in all of them."""

import ast
from pathlib import Path

import pytest

KERNELS = Path(__file__).parent.parent / "gtn_ebm" / "kernels"


def _copies(name: str) -> dict[str, str]:
    """The definitions of a helper by the modules that have one, without comments."""
    found = {}
    for path in sorted(KERNELS.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                found[path.name] = ast.unparse(node)
    return found


@pytest.mark.parametrize("name", ["_add", "_normalised"])
def test_arithmetic_on_scaled_numbers_is_the_same(name: str) -> None:
    copies = _copies(name)
    modules = {"dense.py", "dense_chain.py", "distance.py", "lattice.py"}
    assert modules <= copies.keys()
    assert len({copies[module] for module in modules}) == 1
