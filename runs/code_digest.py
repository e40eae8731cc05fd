"""A digest of what a function does, from its source: the same for another layout, comment, docstring or annotation.

What the function names is followed (helpers, classes, constants), in its own file or in its whole app. What lies beyond
counts by its name alone; what a setting or a table holds does not count. Executes nothing; reads a file once a process.

From source, not from bytecode: that changes with every version of Python, and every run under way would ask.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import math
import os
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path

from django.apps import apps

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_BODIES = (ast.If, ast.Try, ast.With)
_ANNOTATIONS = ("annotation", "returns", "type_comment", "type_params")
_SKIPPED = ("ctx", "kind")
_DEEPEST = 20  # of values in values
_PLAIN = (bool, int, float, complex, str, bytes)


class SourceChanged(Exception):
    """A file was changed after this process had loaded it: what it says now is not what runs here."""


def of_code(work: object, *, far: bool, since: float = math.inf) -> str:
    """SHA-256 in hex of a function, a class, a bound method, a partial, or an object that is called.

    `far`: what it names is followed through its app, else in its own file. `since`: when it was loaded (seconds since
    1970). Raises SourceChanged for a file that is younger.
    """
    found = _Slice(far, since)
    _follow_value(work, found, "")
    return _hash(found.parts)


def name_of(work: object) -> str:
    """What it is called, for what counts by its name alone."""
    if isinstance(work, functools.partial):
        return name_of(work.func)
    kind = work if hasattr(work, "__qualname__") else type(work)
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}"


@dataclass(slots=True)
class _Slice:
    """Everything found so far, by where it stands; what is being looked at is in it already."""

    far: bool
    since: float
    parts: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, text: str) -> bool:
        """False when it was there."""
        if name in self.parts:
            return False
        self.parts[name] = text
        return True


def _hash(parts: Mapping[str, str]) -> str:
    whole = hashlib.sha256()
    for text in sorted(parts.values()):  # not the names: a file may be renamed, a helper moved
        whole.update(text.encode() + b"\0")
    return whole.hexdigest()


# values, as the process holds them


def _follow_value(value: object, found: _Slice, path: str) -> None:
    """`path` says where in other values it stands: their order counts."""
    match value:
        case types.FunctionType():
            _follow_function(value, found, path)
        case types.MethodType():
            _follow_value(value.__func__, found, f"{path}.function")
            _follow_value(value.__self__, found, f"{path}.self")
        case functools.partial():
            _follow_value(value.func, found, f"{path}.function")
            _follow_value(value.args, found, f"{path}.given")
            _follow_value(tuple(sorted(value.keywords.items())), found, f"{path}.named")
        case type():
            _follow_class(value, found)
        case _:
            _follow_object(value, found, path)


def _follow_object(value: object, found: _Slice, path: str) -> None:
    if value is None or isinstance(value, _PLAIN):
        found.add(f"value {path}", f"{path} {value!r}")
    elif path.count(".") > _DEEPEST or isinstance(value, types.ModuleType):
        return
    elif isinstance(value, (tuple, frozenset)):
        items = sorted(value, key=repr) if isinstance(value, frozenset) else value
        found.add(f"value {path}", f"{path} {type(value).__name__} of {len(value)}")
        for place, one in enumerate(items):
            _follow_value(one, found, f"{path}.{place}")
    else:
        _follow_class(type(value), found)
        for one in fields(value) if is_dataclass(value) else ():
            _follow_value(getattr(value, one.name, None), found, f"{path}.{one.name}")


def _follow_class(kind: type, found: _Slice) -> None:
    file = _file(kind.__module__)
    if file is None or kind.__qualname__ not in file.named or not file.ours:
        found.add(f"class {kind.__module__}.{kind.__qualname__}", f"{kind.__module__}.{kind.__qualname__}")
        return
    _follow_node(file, f"{file.name}:{kind.__qualname__}", file.named[kind.__qualname__], found)


def _follow_function(work: types.FunctionType, found: _Slice, path: str) -> None:
    file = _file(work.__module__)
    node = file.function(work.__code__) if file else None
    if file is None or node is None:
        found.add(f"code {work.__module__}.{work.__qualname__}", _bytes_of(work.__code__))
        return
    name = f"{file.name}:{work.__qualname__}:{work.__code__.co_firstlineno}"
    _follow_node(file, name, node, found)
    if path:
        found.add(f"value {path}", f"{path} {file.read(node)[0]}")
    if path.count(".") <= _DEEPEST:
        for variable, cell in zip(work.__code__.co_freevars, work.__closure__ or (), strict=True):
            _follow_value(_content(cell), found, f"{path}.{variable}")


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _bytes_of(code: types.CodeType) -> str:
    """For code without a source file: what it is compiled to."""
    inner = [_bytes_of(one) if isinstance(one, types.CodeType) else repr(one) for one in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {inner}"


# source, as the files have it


def _follow_node(file: _File, name: str, node: ast.AST, found: _Slice) -> None:
    if name in found.parts:
        return
    if file.changed_at > found.since:
        raise SourceChanged(f"{file.path} has changed since this process loaded it")
    text, names = file.read(node)
    found.add(name, text)
    for one, attribute in names:
        _follow_name(file, one, attribute, found)


def _follow_name(file: _File, name: str, attribute: str, found: _Slice) -> None:
    """A name used in a file: one of its own, one of its imports, or (not followed) a local or a built-in one."""
    if name in file.named:
        return _follow_node(file, f"{file.name}:{name}", file.named[name], found)
    imported = file.imported.get(name)
    if imported is None:
        return None
    other = _file(imported.module)
    if other is not None and imported.name and not other.is_file(imported.name):
        return _follow_elsewhere(file, other, imported.name, "", found)
    module = f"{imported.module}.{imported.name}" if imported.name else imported.module
    other = _file(module)
    return _follow_elsewhere(file, other, attribute, "", found) if other and attribute else None


def _follow_elsewhere(file: _File, other: _File, name: str, attribute: str, found: _Slice) -> None:
    if found.far and other.app == file.app:
        _follow_name(other, name, attribute, found)


@dataclass(slots=True)
class _Reading:
    """A tree as lines that another version of Python writes the same (no positions, nothing empty), and the names
    that are read in it, with the attribute that is taken of each."""

    lines: list[str] = field(default_factory=list)
    names: dict[tuple[str, str], None] = field(default_factory=dict)

    def read(self, node: object, inside: bool) -> None:
        if not isinstance(node, ast.AST):
            self.lines.append(repr(node))
            return
        self.lines.append(type(node).__name__)
        if isinstance(node, ast.Name):
            self.names.setdefault((node.id, ""))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            self.names.setdefault((node.value.id, node.attr))
        inside = inside or isinstance(node, _FUNCTIONS)
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in _SKIPPED or (inside and name in _ANNOTATIONS):
                continue
            self.lines.append(name)
            if name == "body" and isinstance(value, list):
                value = _without_docstring(node, value)
            for one in value if isinstance(value, list) else [value]:
                self.read(one, inside)
            self.lines.append(".")


def _without_docstring(node: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or not body:
        return body
    first = body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if is_text and isinstance(first.value.value, str) else body  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class _Import:
    """`from module import name`, or `import module` (no name)."""

    module: str
    name: str = ""


@dataclass(slots=True)
class _File:
    """A module's source: what it names at its top, what it imports anywhere, its functions by line."""

    name: str
    path: str
    app: str
    ours: bool
    changed_at: float
    named: dict[str, ast.AST] = field(default_factory=dict)
    imported: dict[str, _Import] = field(default_factory=dict)
    functions: dict[int, list[ast.AST]] = field(default_factory=dict)
    readings: dict[ast.AST, tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=dict)

    def read(self, node: ast.AST) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Digest and names of a node, read once."""
        if node not in self.readings:
            reading = _Reading()
            reading.read(node, False)
            text = hashlib.sha256("\n".join(reading.lines).encode()).hexdigest()
            self.readings[node] = text, tuple(reading.names)
        return self.readings[node]

    def is_file(self, name: str) -> bool:
        """Whether `from this import name` gives a module."""
        return name not in self.named and name not in self.imported and f"{self.name}.{name}" in sys.modules

    def function(self, code: types.CodeType) -> ast.AST | None:
        """The node that this code was compiled from."""
        found = [one for one in self.functions.get(code.co_firstlineno, ()) if _called(one) == code.co_name]
        return found[0] if len(found) == 1 else _at_its_place(found, code)


def _called(node: ast.AST) -> str:
    return getattr(node, "name", "<lambda>")


def _at_its_place(found: list[ast.AST], code: types.CodeType) -> ast.AST | None:
    """Of several lambdas on one line the one whose body the instructions come from."""
    places = [(line, column) for line, _, column, end in code.co_positions() if line and column and end]
    for node in reversed(found):  # an inner one begins later
        body = getattr(node, "body", None)
        if isinstance(body, ast.expr) and places and all(_holds(body, *place) for place in places):
            return node
    return None


def _holds(body: ast.expr, line: int, column: int) -> bool:
    begin, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    return begin <= (line, column) <= end


_files: dict[str, tuple[types.ModuleType | None, _File | None]] = {}


def _file(module: str) -> _File | None:
    """None for what has no source of its own: built in, or made at run time. Read once for a loaded module."""
    loaded = sys.modules.get(module)
    known = _files.get(module)
    if known is None or known[0] is not loaded:
        known = _files[module] = loaded, _read_file(module)
    return known[1]


def _read_file(module: str) -> _File | None:
    try:
        path = inspect.getsourcefile(sys.modules[module]) or ""
        changed_at = os.stat(path).st_mtime
        tree = ast.parse(Path(path).read_bytes())
    except (KeyError, OSError, TypeError, SyntaxError):
        return None
    file = _File(module, path, _app(module), "site-packages" not in path, changed_at)
    _read_top(tree.body, file)
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
            file.functions.setdefault(first, []).append(node)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                known = alias.name if alias.asname else alias.name.partition(".")[0]
                file.imported[alias.asname or known] = _Import(known)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(module, node)
            for alias in node.names:
                file.imported[alias.asname or alias.name] = _Import(source, alias.name)
    return file


def _app(module: str) -> str:
    """The Django app that a module belongs to; its package where it belongs to none."""
    config = apps.get_containing_app_config(module)
    return config.name if config else module.rpartition(".")[0] or module


def _absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = getattr(sys.modules[module], "__package__", "") or ""
    kept = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*kept, node.module] if node.module else kept)


def _read_top(body: list[ast.stmt], file: _File) -> None:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                file.named[node.name] = node
            case ast.Assign():
                for target in node.targets:
                    for one in ast.walk(target):
                        if isinstance(one, ast.Name):
                            file.named[one.id] = node
            case ast.AnnAssign(target=ast.Name(id=name)):
                file.named[name] = node
            case _ if isinstance(node, _BODIES):
                _read_top(node.body, file)
                for more in (getattr(node, "orelse", []), getattr(node, "finalbody", [])):
                    _read_top(more, file)
