"""Registries of methods, tasks, backbones and vision encoders, and the discovery of plugins.

A name may also be ``FAMILY:NAME``: a :class:`Family` is registered once and makes its members when they are
asked for, so that a library of hundreds of tasks costs nothing before one of them is named.

A plugin is a Python file given by ``--plugin`` or a module named by an entry point of the group
``harness.plugins``. A plugin that fails to import is kept as a :class:`BrokenPlugin` with its traceback; the
rest goes on.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from harness.errors import UsageError, unknown
from harness.sites import raising_line

if TYPE_CHECKING:
    from harness.backbones import BackboneSpec
    from harness.encoders.base import Encoder
    from harness.fusion import FusionMethod
    from harness.published_models.family import Family as ModelFamily
    from harness.task import Task

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

ENTRY_POINT_GROUP = "harness.plugins"
_OWN = " (one of your own: name its file with --plugin)"
_OWN_MODULE = "harness_plugin_"


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A plugin that could not be imported."""

    source: str
    error: str
    traceback: str


class Family(Protocol[T_co]):
    """Makes the objects whose names begin with its own and a colon, each when it is first asked for."""

    summary: str

    def make(self, name: str) -> T_co:
        """The member of a name (without the family's). Raises UsageError for an unknown one, and an
        InfrastructureError where what the family stands on is not installed."""
        ...

    def warm(self) -> None:
        """Import what every member needs: cells start from a process in which that is done."""
        ...


class Registry(Generic[T]):
    """Names to objects of one kind. Duplicates raise; unknown names get near matches.

    Iteration and ``in`` cover what is registered by name; the members of families are reached by
    :meth:`get` alone.
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._items: dict[str, T] = {}
        self._families: dict[str, Family[T]] = {}
        self._made: dict[str, T] = {}
        self._origins: dict[str, str] = {}

    def add(self, name: str, item: T, origin: str) -> None:
        self._check(name, origin)
        self._items[name] = item
        self._origins[name] = origin

    def add_family(self, name: str, family: Family[T], origin: str) -> None:
        """Make every ``name:MEMBER`` known."""
        self._check(name, origin)
        self._families[name] = family
        self._origins[name] = origin

    def _check(self, name: str, origin: str) -> None:
        if not name.isidentifier() and not name.replace("-", "_").replace(".", "_").isidentifier():
            raise UsageError(
                f"{self.noun} name {name!r} is not usable: letters, digits, '_', '-' and '.' only"
            )
        if name in self._origins:
            raise UsageError(
                f"{self.noun} {name!r} is registered twice: "
                f"by {self.origin(name)} and by {_file_of_module.get(origin, origin)}; rename one"
            )

    def get(self, name: str) -> T:
        """The item of a name; what ships here and what entry points name is imported for it first."""
        family, colon, member = name.partition(":")
        if family not in self._origins:
            discover()
        if colon:
            return self._member(family, member)
        if name in self._families:
            raise UsageError(f"{self.noun} {name!r} is a family of many; name one as {name}:NAME")
        if name not in self._items:
            raise unknown(self.noun, name, self._items, else_=_OWN)
        return self._items[name]

    def _member(self, family: str, member: str) -> T:
        name = f"{family}:{member}"
        if family in self._items:
            raise UsageError(
                f"{self.noun} {name!r} is not known: {member!r} is not a setting of {family!r}; "
                f"write {family}:FIELD=VALUE"
            )
        if family not in self._families:
            raise unknown(f"{self.noun} family", family, self._families)
        if name not in self._made:
            self._made[name] = self._families[family].make(member)
        return self._made[name]

    def warm(self, family: str) -> None:
        """Import what the members of a family need."""
        self._families[family].warm()

    def families(self) -> dict[str, str]:
        """The families' names with what each of them holds, in words."""
        return {name: self._families[name].summary for name in sorted(self._families)}

    def origin(self, name: str) -> str:
        """The plugin's file, else the module, that registered the name or its family."""
        own = name.partition(":")[0]
        if own not in self._origins:
            self.get(name)
        return self.plugin(name) or self._origins[own]

    def plugin(self, name: str) -> str | None:
        """The file of the plugin that registered the name, as the user named it; None for what ships here or
        is an entry point's."""
        return _file_of_module.get(self._origins[name.partition(":")[0]])

    def names(self) -> list[str]:
        """Every registered name, those of families among them."""
        return sorted(self._origins)

    def keep(self, names: Collection[str]) -> set[str]:
        """Forget every other name, as the half of a plugin that broke; return the modules that had
        registered them."""
        others = set(self._origins) - set(names)
        for name in others:
            self._items.pop(name, None)
            self._families.pop(name, None)
        self._made = {name: made for name, made in self._made.items() if name.partition(":")[0] not in others}
        return {self._origins.pop(name) for name in others}

    def __contains__(self, name: str) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def __len__(self) -> int:
        return len(self._items)


methods: Registry[type[FusionMethod]] = Registry("method")
tasks: Registry[type[Task]] = Registry("task")
backbones: Registry[BackboneSpec] = Registry("backbone")
encoders: Registry[type[Encoder]] = Registry("encoder")
families: Registry[type[ModelFamily]] = Registry("type of published model")
"""Adapters from outside, by ``model_type``; the shipped ones are in ``harness.published_models.families``."""
_ALL: tuple[
    Registry[type[FusionMethod]]
    | Registry[type[Task]]
    | Registry[BackboneSpec]
    | Registry[type[Encoder]]
    | Registry[type[ModelFamily]],
    ...,
] = (methods, tasks, backbones, encoders, families)

M = TypeVar("M", bound="type[FusionMethod]")
K = TypeVar("K", bound="type[Task]")
E = TypeVar("E", bound="type[Encoder]")
F = TypeVar("F", bound="type[ModelFamily]")


def register_method(name: str) -> Callable[[M], M]:
    """Class decorator: make a fusion method known under ``name``."""

    def decorate(cls: M) -> M:
        from harness.fusion import check_declaration

        check_declaration(name, cls)
        methods.add(name, cls, cls.__module__)
        cls.name = name
        return cls

    return decorate


def register_task(name: str) -> Callable[[K], K]:
    """Class decorator: make a task known under ``name``."""

    def decorate(cls: K) -> K:
        from harness.task import Task

        if not (isinstance(cls, type) and issubclass(cls, Task)):
            raise UsageError(f"task {name!r} is {cls!r}; it must be a subclass of harness.task.Task")
        missing = [a for a in ("version", "summary", "licence", "source", "kinds") if not hasattr(cls, a)]
        if missing:
            raise UsageError(f"task {name!r} lacks the class variable(s) {', '.join(missing)}")
        tasks.add(name, cls, cls.__module__)
        return cls

    return decorate


def register_encoder(name: str) -> Callable[[E], E]:
    """Class decorator: make a type of vision encoder known under ``name``."""

    def decorate(cls: E) -> E:
        encoders.add(name, cls, cls.__module__)
        cls.name = name
        return cls

    return decorate


def register_family(model_type: str) -> Callable[[F], F]:
    """Class decorator: run published models whose config has this ``model_type`` through an adapter."""

    def decorate(cls: F) -> F:
        from harness.published_models.families import FAMILIES
        from harness.published_models.family import Family

        if not (isinstance(cls, type) and issubclass(cls, Family)):
            raise UsageError(
                f"the adapter of {model_type!r} is {cls!r}; it must be a subclass of "
                "harness.published_models.family.Family"
            )
        if model_type in FAMILIES:
            raise UsageError(f"models of type {model_type!r} have an adapter already; use another model_type")
        families.add(model_type, cls, cls.__module__)
        return cls

    return decorate


_discovered = False
_plugin_files: dict[str, BrokenPlugin | None] = {}
_file_of_module: dict[str, str] = {}
"""The file of a plugin's module, as the user named it."""
_broken_entry_points: list[BrokenPlugin] = []


def discover(plugin_files: Iterable[str | Path] = ()) -> list[BrokenPlugin]:
    """Import everything that ships here, every entry point and the given files; return what broke.

    Each file is imported once per process, however often it is named; it may import what lies beside it.
    """
    global _discovered
    if not _discovered:
        _discovered = True
        for package in ("harness.fusion_impls", "harness.tasks", "harness.encoders", "harness.backbones"):
            module = importlib.import_module(package)
            for info in pkgutil.iter_modules(module.__path__):
                if not info.name.startswith("_"):
                    importlib.import_module(f"{package}.{info.name}")
        for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
            broken = _guarded(f"entry point {entry.name} = {entry.value}", entry.load)
            if broken is not None:
                _broken_entry_points.append(broken)
    broken_files = [_load_file(Path(file)) for file in plugin_files]
    return _broken_entry_points + [broken for broken in broken_files if broken is not None]


def require(plugin_files: Iterable[str | Path]) -> list[BrokenPlugin]:
    """As :func:`discover`, for a command that was given the files: one that broke is a UsageError, since what
    it registers is wanted. Returns the entry points that broke."""
    files = [str(Path(file)) for file in plugin_files]
    broken = discover(files)
    for plugin in broken:
        if plugin.source in files:
            raise UsageError(
                f"plugin {plugin.source!r} cannot be imported: {plugin.error}; mend it or leave it out"
            )
    return broken


def _load_file(path: Path) -> BrokenPlugin | None:
    if not path.is_file():
        raise UsageError(f"plugin {str(path)!r} is not a file; give the path of a Python file")
    resolved = path.resolve()
    if str(resolved) not in _plugin_files:
        # Last, where a script's own folder is first: no neighbour of a plugin hides what is installed.
        if str(resolved.parent) not in sys.path:
            sys.path.append(str(resolved.parent))
        name = _module_name(resolved)
        _file_of_module[name] = str(path)

        def load() -> None:
            if not name.startswith(_OWN_MODULE):
                importlib.import_module(name)
                return
            spec = importlib.util.spec_from_file_location(name, resolved)
            if spec is None or spec.loader is None:
                raise UsageError(f"plugin {str(path)!r} cannot be loaded as Python; its name must end in .py")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)

        _plugin_files[str(resolved)] = _guarded(str(path), load)
    return _plugin_files[str(resolved)]


def _module_name(file: Path) -> str:
    """The name that a file is imported under, or would be by an import statement, so that one which another
    plugin imports too runs once; a name of its own where no such statement reaches it."""
    for name, module in list(sys.modules.items()):
        if name != "__main__" and _is_file(getattr(module, "__file__", None), file):
            return name
    try:
        found = importlib.util.find_spec(file.stem)
    except (ImportError, ValueError):
        found = None
    if found is not None and _is_file(found.origin, file):
        return file.stem
    return f"{_OWN_MODULE}{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"


def _is_file(origin: object, file: Path) -> bool:
    return isinstance(origin, str) and Path(origin).name == file.name and Path(origin).resolve() == file


def _guarded(source: str, load: Callable[[], object]) -> BrokenPlugin | None:
    """Load a plugin; when it breaks, forget the names that it registered."""
    known = [registry.names() for registry in _ALL]
    try:
        load()
    except (Exception, SystemExit) as error:
        for registry, names in zip(_ALL, known, strict=True):
            # Forgotten as modules too: a plugin that imports one of them later registers its names again.
            for module in registry.keep(names):
                sys.modules.pop(module, None)
        return BrokenPlugin(source, _in_words(error), traceback.format_exc())
    return None


def _in_words(error: BaseException) -> str:
    """A plugin's error with the line that raised it; the text of a SyntaxError has its own."""
    line = "" if isinstance(error, SyntaxError) else f" at {raising_line(error)}"
    return f"{type(error).__name__}{line}: {error}"
