"""Custom code: a package of a person's own, its text and fingerprint, and its import where something is built.

The text that counts in a fingerprint is the text that runs: modules are compiled from it, and no bytecode beside the
files is read or written. Reading it imports nothing. Nothing else below its folder can be imported.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

from landcover_orch import config
from landcover_orch.config.experiments.custom import Custom
from landcover_orch.errors import CodeError, Problem, did_you_mean
from landcover_orch.store.canonical import digest

SWITCH = "LANDCOVER_CUSTOM"
"""Environment variable: `true` where configurations may name code."""

FOLDER = "code"
"""Folder of a trained model that holds the text of the packages it was made with."""


@dataclass(frozen=True)
class Package:
    """Python package, or a single module, as text: file below `folder` -> text."""

    name: str
    folder: Path
    files: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """Digest of the text of its .py files and of their names."""
        return digest(dict(self.files))

    @property
    def modules(self) -> list[str]:
        """Names of its modules."""
        return sorted(file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in self.files)

    def write(self, folder: Path) -> None:
        """Writes its files below a folder."""
        for file, text in self.files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text, encoding="utf-8")

    def spec(self, module: str) -> ModuleSpec | None:
        """Import specification of one of its modules; None where there is none."""
        stem = module.replace(".", "/")
        for file in (f"{stem}/__init__.py", f"{stem}.py"):
            if file in self.files:
                inner = [str(self.folder / stem)] if file.endswith("__init__.py") else None
                return spec_from_file_location(
                    module, self.folder / file, loader=IMPORTER, submodule_search_locations=inner
                )
        if not any(file.startswith(f"{stem}/") for file in self.files):
            return None
        namespace = ModuleSpec(module, None, is_package=True)
        namespace.submodule_search_locations = [str(self.folder / stem)]
        return namespace

    def load(self, module: str) -> Any:
        """Imports one of its modules, anew where another text of the package was imported before.

        Raises:
            CodeError: something else of the package's name is loaded, as a library that is installed.
        """
        known = IMPORTER.packages.get(self.name)
        if known is None and (self.name in sys.modules or self.name in sys.stdlib_module_names):
            origin = getattr(sys.modules.get(self.name), "__file__", None) or "Python's library"
            fix = f"rename {self.folder / self.name}"
            raise CodeError(Problem(f"package {self.name}", f"the name of {origin}", "a name of its own", fix))
        if known is None or known.files != self.files:
            for name in [name for name in sys.modules if name.partition(".")[0] == self.name]:
                del sys.modules[name]
            IMPORTER.packages[self.name] = self
        return import_module(module)


class PackageImporter(MetaPathFinder, ExecutionLoader):
    """Importer of packages from their text; of a package the text that was loaded last."""

    def __init__(self) -> None:
        self.packages: dict[str, Package] = {}

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Import specification of a module of a package that was loaded; None of any other."""
        package = self.packages.get(fullname.partition(".")[0])
        return None if package is None else package.spec(fullname)

    def get_filename(self, fullname: str) -> str:
        """Path of a module's file, for tracebacks."""
        spec = self.find_spec(fullname)
        if spec is None or spec.origin is None:
            raise ImportError(f"no text of {fullname}", name=fullname)
        return spec.origin

    def get_source(self, fullname: str) -> str:
        """Text of a module."""
        package = self.packages[fullname.partition(".")[0]]
        return package.files[Path(self.get_filename(fullname)).relative_to(package.folder).as_posix()]


IMPORTER = PackageImporter()
sys.meta_path.insert(0, IMPORTER)


def read(settings: Custom, folder: Path) -> Package:
    """The package of custom code below a folder, as text; nothing is imported.

    Raises:
        CodeError: the package or its module is not there, leaves the folder, or is no text.
    """
    name = settings.package
    root = folder / name
    paths = _sources(root) if root.is_dir() else [folder / f"{name}.py"]
    files = {path.relative_to(folder).as_posix(): _text(path, folder) for path in paths if path.is_file()}
    if not files:
        fix = f"write it there, or set {config.CODE} to the folder that holds it"
        raise CodeError(Problem(str(folder), f"no package {name}", f"the code of `build: {settings.build}`", fix))
    package = Package(name, folder, files)
    if settings.module not in package.modules:
        known = package.modules
        fix = did_you_mean(settings.module, known) or f"correct `build: {settings.build}`"
        raise CodeError(Problem(str(folder), f"no module {settings.module}", f"one of {', '.join(known)}", fix))
    return package


def _sources(folder: Path) -> list[Path]:
    """The .py files below a folder; none of hidden folders, as editors keep copies in."""
    paths = sorted(folder.rglob("*.py"))
    return [path for path in paths if not any(part[0] == "." for part in path.relative_to(folder).parts)]


def _text(path: Path, folder: Path) -> str:
    if not path.resolve().is_relative_to(folder.resolve()):
        fix = "copy the file there instead of linking to it"
        raise CodeError(Problem(str(path), "a link out of its folder", f"a file below {folder}", fix))
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CodeError(Problem(str(path), f"no UTF-8 ({error.reason})", "Python in UTF-8", "convert it")) from error


def named(configuration: object) -> Iterator[Custom]:
    """Custom code that plain settings name anywhere: parts with `name: custom`, and choices of a path `....build`."""
    match configuration:
        case {"name": "custom", "build": str(build)}:
            yield Custom(build=build)
        case Mapping():
            for key, value in configuration.items():
                if str(key).endswith(".build") and ".arguments." not in str(key):
                    yield from _choices(value)
                else:
                    yield from named(value)
        case list() | tuple():
            for value in configuration:
                yield from named(value)
        case _:
            pass


def _choices(value: object) -> Iterator[Custom]:
    match value:
        case str():
            yield Custom(build=value)
        case Mapping():
            yield from _choices(value.get("choices", ()))
        case list() | tuple():
            for choice in value:
                yield from _choices(choice)
        case _:
            pass


def packages(configuration: object) -> dict[str, Package]:
    """Name -> package of all custom code that plain settings name, as it lies below `LANDCOVER_CODE`.

    Raises:
        CodeError: custom code is switched off, or a package is not there.
    """
    parts = {settings.build: settings for settings in named(configuration)}
    for settings in parts.values():
        require_enabled(settings)
    return {settings.package: read(settings, config.code_folder()) for settings in parts.values()}


def inputs(code: Mapping[str, Package]) -> dict[str, str]:
    """Inputs of a build recipe: the fingerprint of each package."""
    return {f"code {name}": package.fingerprint for name, package in code.items()}


def distributions(folder: Path) -> list[str]:
    """Distributions that packages below a folder import beside themselves, as installed here; nothing is imported."""
    paths, names = _sources(folder), set[str]()
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.Import():
                names |= {alias.name.partition(".")[0] for alias in node.names}
            case ast.ImportFrom(module=str(module)):
                names.add(module.partition(".")[0])
            case _:
                pass
    names -= {part for path in paths for part in path.relative_to(folder).with_suffix("").parts}
    if not names:
        return []
    installed = importlib.metadata.packages_distributions()
    return sorted({distribution for name in names for distribution in installed.get(name, ())[:1]})


def require_enabled(settings: Custom) -> None:
    """Raises CodeError where configurations may not name code: it would be run as whoever runs this."""
    if (value := os.environ.get(SWITCH)) != "true":
        state = "not set" if value is None else repr(value)
        fix = f"read the code below {config.code_folder()}, then export {SWITCH}=true"
        raise CodeError(Problem(f"`build: {settings.build}`", f"code, and {SWITCH} is {state}", "true", fix))


def create(settings: Custom, folder: Path, *, trusted: bool = False, **given: Any) -> Any:
    """What custom code builds: its class or function, called with `given` and the settings' arguments.

    Args:
        settings: which code, and its arguments.
        folder: where the package lies.
        trusted: whether it runs without `LANDCOVER_CUSTOM`, as in a model that MLflow has run code of already.
        given: what all of its kind are called with.

    Raises:
        CodeError: custom code is switched off, cannot be imported, or its call ends with an error.
    """
    if not trusted:
        require_enabled(settings)
    package = read(settings, folder)
    with errors_named(settings, package):
        builder: Callable[..., Any] = getattr(package.load(settings.module), settings.attribute)
        return builder(**given, **settings.arguments)


@contextmanager
def errors_named(settings: Custom, package: Package) -> Iterator[None]:
    """Raises CodeError, with file and line, where custom code ends with whatever error."""
    try:
        yield
    except CodeError:
        raise
    except (Exception, SystemExit) as error:
        lines = [
            f"{Path(frame.filename).relative_to(package.folder)}, line {frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).is_relative_to(package.folder)
        ]
        line = f" ({lines[-1]})" if lines else ""
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{line}"
        fix = "correct the code or its `arguments`, or install what it imports"
        raise CodeError(Problem(f"`build: {settings.build}`", text, "code that runs", fix)) from error
