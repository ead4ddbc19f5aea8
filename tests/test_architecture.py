"""The arrows of docs/architecture.md: rooms import from lower floors only, foreign packages stay in their room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FLOORS = {
    "engine.errors": 1,
    "engine.clock": 1,
    "engine.algorithms": 1,
    "engine.kinds": 1,
    "engine.json_log": 1,
    "engine.metrics": 1,
    "engine.process_hardening": 1,
    "engine.interpreter": 1,
    "engine.cpu_priority": 1,
    "engine.worker_pipes": 1,
    "engine.publication_kinds": 1,
    "engine.config": 2,
    "engine.home": 2,
    "engine.unix_sockets": 2,
    "engine.fault_points": 1,
    "engine.checker": 2,
    "engine.backup": 6,
    "engine.register": 3,
    "engine.x509": 3,
    "engine.pkcs11": 3,
    "engine.store": 3,
    "engine.control": 3,
    "engine.audit": 4,
    "engine.authority": 5,
    "engine.issuance": 6,
    "engine.status": 6,
    "engine.publication": 6,
    "engine.repository": 6,
    "engine.usage": 6,
    "engine.capacity": 6,
    "engine.feed": 7,
    "engine.cli": 8,
    "responders": 8,
}

ONLY_IN = {
    "pkcs11": "engine.pkcs11",
    "quart": "responders",
    "quart_trio": "responders",
    "quart_schema": "responders",
    "hypercorn": "responders",
    "h11": "responders",
    "httptools": "responders",
    "lmdb": "engine.status",
    "httpx": "engine.feed",
    "prometheus_client": "responders",
    "numpy": "engine.capacity",
    "matplotlib": "engine.capacity",
}


def room_of(module: str) -> str:
    """The room a module of ours is in: engine.x509 for engine.x509.der."""
    parts = module.split(".")
    return parts[0] if parts[0] == "responders" else ".".join(parts[:2])


def imports_of(path: Path, module: str) -> Iterator[tuple[int, str]]:
    """Every import statement of a file with its line, those inside functions and for type checking too."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            # `from engine import x509` names the room after the import
            names = [f"engine.{alias.name}" for alias in node.names] if source == "engine" else [source]
            yield from ((node.lineno, name) for name in names)


def wrong_arrow(module: str, imported: str) -> str | None:
    """Why a module may not import another; None when it may."""
    room, package = room_of(module), imported.split(".")[0]
    home = ONLY_IN.get(package)
    if home is not None and room != home:
        return f"only {home} imports {package}"
    if package not in ("engine", "responders") or imported == "engine" or module == "engine":
        return None
    target = room_of(imported)
    if target == room:
        return None
    if room not in FLOORS or target not in FLOORS:
        return f"{room if room not in FLOORS else target} is not on the map in docs/architecture.md"
    if FLOORS[target] >= FLOORS[room]:
        return f"{room} (floor {FLOORS[room]}) may not import {target} (floor {FLOORS[target]})"
    return None


def wrong_arrows(root: Path) -> list[str]:
    """All wrong arrows of the packages under a folder, with file and line."""
    found = []
    for path in sorted([*root.glob("engine/**/*.py"), *root.glob("responders/**/*.py")]):
        relative = path.relative_to(root)
        module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        for line, imported in imports_of(path, module):
            fault = wrong_arrow(module, imported)
            if fault is not None:
                found.append(f"{relative}:{line}: {fault}")
    return found


def test_every_arrow_points_down() -> None:
    assert wrong_arrows(ROOT) == []


def test_the_map_in_the_document_has_the_same_floors() -> None:
    drawing = (ROOT / "docs" / "architecture.md").read_text("utf-8").split("```")[1]
    floor, drawn = 0, {}
    for line in drawing.splitlines():
        floor = int(line[0]) if line[:1].isdigit() else floor
        for word in line.split():
            if word.startswith("engine/"):
                drawn[word.rstrip("/").removesuffix(".py").replace("/", ".")] = floor
    assert drawn
    assert drawn == {room: FLOORS[room] for room in drawn}
    rooms = {
        path.stem
        for path in (ROOT / "engine").iterdir()
        if path.stem not in {"__init__", "__pycache__", "py"}
    }
    assert {f"engine.{room}" for room in rooms if not room.startswith(".")} <= set(FLOORS)


@pytest.mark.parametrize(
    ("place", "statement", "fault"),
    [
        ("engine/x509/der.py", "from engine.store.schema import runs", "engine.store (floor 3)"),
        ("engine/x509/der.py", "import engine.register.row", "engine.register (floor 3)"),
        ("engine/x509/der.py", "from engine import register", "engine.register (floor 3)"),
        ("engine/x509/der.py", "from ..pkcs11 import session", "engine.pkcs11 (floor 3)"),
        ("engine/x509/__init__.py", "from ..pkcs11.session import Session", "engine.pkcs11 (floor 3)"),
        (
            "engine/register/row.py",
            "def read():\n    from engine.issuance import policy",
            "engine.issuance (floor 6)",
        ),
        ("engine/errors.py", "from engine.config import Configuration", "engine.config (floor 2)"),
        ("engine/issuance/run.py", "from responders import app", "responders (floor 8)"),
        ("engine/issuance/run.py", "import pkcs11", "only engine.pkcs11 imports pkcs11"),
        ("engine/cli/main.py", "from quart import Quart", "only responders imports quart"),
        ("engine/cli/main.py", "import responders", "responders (floor 8)"),
        ("responders/app.py", "import engine.cli.main", "engine.cli (floor 8)"),
        ("engine/issuance/run.py", "import engine.attic", "not on the map"),
    ],
)
def test_a_wrong_arrow_is_found(tmp_path: Path, place: str, statement: str, fault: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(statement, "utf-8")
    (found,) = wrong_arrows(tmp_path)
    assert found.startswith(place)
    assert fault in found


@pytest.mark.parametrize(
    ("place", "statement"),
    [
        ("engine/x509/der.py", "from engine.errors import InputRejected\nfrom .names import Name"),
        ("engine/issuance/run.py", "from engine import x509, store\nimport engine.audit.log"),
        ("engine/pkcs11/session.py", "import pkcs11.exceptions"),
        ("responders/app.py", "import quart\nimport engine.issuance.run\nfrom . import listener"),
    ],
)
def test_a_right_arrow_is_left_alone(tmp_path: Path, place: str, statement: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(statement, "utf-8")
    assert wrong_arrows(tmp_path) == []
