"""`python -m tools.record_versions`: records the sources that each code version stands for.

A code version is a constant `VERSION` (or `..._VERSION`) of the library that recipes of products hold. It stands for
the modules that build them: those that hold it in a recipe, what these import of their own package and of packages
without a version (grid, labels, metrics, ...), what they import directly of others, and the templates of their pages.
Packages that decide no bytes are left out, and so are comments, docstrings and layout.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = "landcover_orch"
TEMPLATES = "landcover_orch/pages/templates"
RECORD = ROOT / "tools" / "versions.json"
NAME = re.compile(r"([A-Z]+_)?VERSION")
BYTELESS = {"compute", "config", "errors", "interrupts", "notifications", "settings", "store", "tracking"}
"""Packages that decide no bytes of a product: what is configured, and what it is made of, is in its recipe."""

HANDED_IN = {"landcover_orch.ground_truth.quality": ("landcover_orch.patches.conservation",)}
"""Modules whose results an asset hands to what builds, which may not import them."""


@dataclass(frozen=True)
class Version:
    """A code version: the module and the name that define it, its number, and the sources that it stands for."""

    module: str
    name: str
    number: int
    sources: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Sources:
    """Source files of the library, and the code versions in them.

    Args:
        root: folder that holds the library.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        paths = sorted((root / LIBRARY).rglob("*.py"))
        names = {path: ".".join(path.relative_to(root).with_suffix("").parts) for path in paths}
        self.trees = {
            name.removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8")) for path, name in names.items()
        }
        self.packages = {name.removesuffix(".__init__") for name in names.values() if name.endswith(".__init__")}
        self.defined = {
            (module, name): number for module, tree in self.trees.items() for name, number in constants(tree)
        }
        self.versioned = {package(module) for module, _ in self.defined if module in self.packages}

    def versions(self) -> list[Version]:
        """All code versions, by module and name."""
        return [
            Version(module, name, number, tuple(sorted(self.covered(module, name))))
            for (module, name), number in sorted(self.defined.items())
        ]

    def holders(self, module: str, name: str) -> set[str]:
        """The modules that hold a version in recipes: those that import it, or the one that defines it."""
        importing = {other for other, tree in self.trees.items() if f"{module}.{name}" in imported(tree)}
        return importing or ({module} - self.packages)

    def covered(self, module: str, name: str) -> set[str]:
        """Modules and templates that a version stands for."""
        scope = module if module in self.packages else module.rpartition(".")[0]
        pending, sources = [*self.holders(module, name)], set[str](HANDED_IN.get(module, ()))
        while pending:
            current = pending.pop()
            if current in sources:
                continue
            sources |= {current, *self.templates(current)}
            for other in self.imports(current):
                if other.startswith(f"{scope}.") or package(other) not in self.versioned:
                    pending.append(other)
                else:
                    sources.add(other)
        return sources

    def imports(self, module: str) -> set[str]:
        """Modules of the library that a module imports, in functions too, and those that it loads by name."""
        tree = self.trees[module]
        direct = {name if name in self.trees else name.rpartition(".")[0] for name in imported(tree)}
        by_name = [text for text in texts(tree) if text.startswith(f"{LIBRARY}.")]
        loaded = {name for text in by_name for name in self.trees if name.startswith(text)}
        return {name for name in (direct | loaded) & self.trees.keys() if package(name) not in BYTELESS}

    def templates(self, module: str) -> set[str]:
        """Templates that a module names, and those that these name."""
        folder = self.root / TEMPLATES
        pending, names = [text for text in texts(self.trees[module]) if text.endswith(".html")], set[str]()
        while pending:
            path = folder / pending.pop()
            if path.name not in names and path.is_file():
                names.add(path.name)
                pending += re.findall(r'"(\w+\.html)"', path.read_text(encoding="utf-8"))
        return {f"{TEMPLATES}/{name}" for name in names}

    def digest(self, source: str) -> str:
        """Digest of a module without comments, docstrings, layout and versions; of a template without layout."""
        if source in self.trees:
            return short_digest(normalised(self.trees[source]))
        text = re.sub(r"\{#.*?#\}", "", (self.root / source).read_text(encoding="utf-8"), flags=re.DOTALL)
        return short_digest(" ".join(text.split()))

    def record(self) -> dict[str, Any]:
        """What is recorded: the number of each version, and the digest of each source that one stands for."""
        versions = self.versions()
        sources = sorted({source for version in versions for source in version.sources})
        return {
            "versions": {str(version): version.number for version in versions},
            "sources": {source: self.digest(source) for source in sources},
        }

    def unraised(self, record: Mapping[str, Any]) -> dict[str, list[str]]:
        """Version -> what changed of its sources since they were recorded, of those whose number is the same."""
        known, numbers = record["sources"], record["versions"]
        changes = {
            str(version): [source for source in version.sources if known.get(source) != self.digest(source)]
            for version in self.versions()
            if numbers.get(str(version)) == version.number
        }
        return {version: sources for version, sources in changes.items() if sources}


def constants(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Names and numbers of the code versions that a module defines."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=int(number))) if NAME.fullmatch(name):
                yield name, number


def imported(tree: ast.Module) -> set[str]:
    """Names that a module imports of the library, with their modules, anywhere in it."""
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.startswith(f"{LIBRARY}.")}


def texts(tree: ast.Module) -> Iterator[str]:
    """String constants of a module, those of f-strings among them."""
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def package(module: str) -> str:
    """The package or module at the top of the library that a module is of."""
    return f"{module}.".split(".")[1]


def normalised(tree: ast.Module) -> str:
    """Source text without comments, layout, docstrings and code versions."""
    plain = ast.parse(ast.unparse(tree))
    for node in ast.walk(plain):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not is_docstring(part) and not is_version(part)]  # type: ignore[attr-defined]
    return ast.unparse(plain)


def is_docstring(node: ast.stmt) -> bool:
    """Whether a statement is a text alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def is_version(node: ast.stmt) -> bool:
    """Whether a statement defines a code version."""
    return any(True for _ in constants(ast.Module([node], [])))


def short_digest(text: str) -> str:
    """SHA-256 of a text, shortened."""
    return sha256(text.encode()).hexdigest()[:12]


def load() -> dict[str, Any]:
    """What was last recorded."""
    record: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return record


def main() -> int:
    """Writes the record, and says which versions keep their number although their sources changed."""
    sources = Sources()
    for version, changed in (sources.unraised(load()) if RECORD.is_file() else {}).items():
        sys.stdout.write(f"{version} stays, for the same bytes of {', '.join(changed)}\n")
    RECORD.write_text(json.dumps(sources.record(), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
