"""Only the verification room knows the native verifier. (import-linter cannot see a compiled module.)"""

import ast
from pathlib import Path

import portal

ROOT = Path(portal.__file__).parent


def knows_the_verifier(source: str) -> bool:
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        if any(name.split(".")[:2] == ["portal", "_verifier"] for name in names):
            return True
    return False


def test_only_the_verification_room_imports_the_native_verifier() -> None:
    rooms = {
        path.relative_to(ROOT).parts[0] for path in ROOT.rglob("*.py") if knows_the_verifier(path.read_text())
    }
    assert rooms == {"verification"}
