"""Parts of a run that are chosen by name: algorithms, heads, samplers and the like.

An entry is known before anything is imported: names and settings are checked without JAX. Its
module is imported when a run is built from it.
"""

import importlib
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from jaxdqn import errors, wording
from jaxdqn.settings import ranges, setting


class Entry(NamedTuple):
    """One part that can be chosen."""

    module: str  # that implements it, by its full name
    text: str  # what it is, for `--help`
    reads: frozenset[str]  # groups of settings that only some parts read
    offers: frozenset[str]  # what parts of another kind may ask of it
    paper: str  # that it comes from; '' if it needs none
    check: Callable[[Any], None]  # refuses settings (a `Config`) that do not fit; SettingError
    stores_q_values: bool  # an algorithm needs, of each step, the values that chose its action
    options: Mapping[str, bool | int | float | str]  # its own, by name, with their defaults


class Registry(Mapping[str, Entry]):
    """The parts of one kind, by name.

    Args:
      setting_name: the setting that chooses one.
    """

    def __init__(self, setting_name: str):
        self.setting_name = setting_name
        self._entries: dict[str, Entry] = {}

    def register(
        self,
        name: str,
        module: str,
        text: str,
        *,
        reads: frozenset[str] = frozenset(),
        offers: frozenset[str] = frozenset(),
        paper: str = "",
        check: Callable[[Any], None] = lambda _: None,
        stores_q_values: bool = False,
        options: Mapping[str, bool | int | float | str] = types.MappingProxyType({}),
    ) -> None:
        """Adds a part; see `Entry` for the arguments.

        Raises:
          ValueError: another part has the name.
        """
        entry = Entry(module, text, reads, offers, paper, check, stores_q_values, options)
        if self._entries.setdefault(name, entry).module != module:
            raise ValueError(
                f"--{self.setting_name}={name} is {self._entries[name].module} already"
            )

    def load(self, name: str) -> types.ModuleType:
        """Imports the module of a part."""
        return importlib.import_module(self[name].module)

    def reading(self, group: str) -> setting.Condition:
        """The condition under which settings of a group are read: the part chosen reads them."""
        return setting.Condition(
            self.setting_name, lambda name: name is None or group in self[name].reads
        )

    def offering(self, what: str) -> str:
        """The names of the parts that offer something, for a message."""
        return ", ".join(name for name, entry in self.items() if what in entry.offers)

    @property
    def names(self) -> ranges.Range:
        """The values that the setting can have."""
        return ranges.Range(self._entries.__contains__, lambda: f"one of {', '.join(self)}")

    def listing(self) -> str:
        """Every name with what it is, for `--help`."""
        return "; ".join(f"{name}: {entry.text}" for name, entry in self.items())

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


_plugins: list[str] = []  # names of the modules that were loaded


def plugins() -> tuple[str, ...]:
    """The modules that `load_plugins` has imported."""
    return tuple(_plugins)


def load_plugins(modules: list[str]) -> None:
    """Imports modules that register parts of their own.

    Raises:
      SettingError: one cannot be imported.
    """
    for module in modules:
        try:
            importlib.import_module(module)
            _plugins.append(module)
        except Exception as error:  # whatever somebody's module raises
            wording.show_own_failure(error, module)
            raise errors.SettingError(
                "plugins", f"{module} cannot be imported: {wording.import_problem(error)}"
            ) from None
