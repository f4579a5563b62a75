"""From Hydra's menu to plain values. OmegaConf ends here."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from importlib import resources
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from leanboard.results.errors import ConfigError

CONFIG_MODULE = "leanboard.suites"
CONFIG_NAME = "run"

GROUPS = (
    "suite",
    "model",
    "technique",
    "workload",
    "backend",
    "hardware",
    "procedure",
    "accuracy",
    "data",
)
TOP_LEVEL = ("store", "cache")

_SCALARS = {
    bool: "true, false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    NoneType: "null",
}

T = TypeVar("T")
Plain = dict[str, Any]


def options(group: str) -> tuple[str, ...]:
    """Return the names that a config group offers, sorted."""
    folder = resources.files(CONFIG_MODULE) / group
    if not folder.is_dir():
        return ()
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def named(group: str, name: str) -> Plain:
    """Return one option of a group as a plain mapping, nothing else composed.

    Raises:
        ConfigError: if the group has no such option.
    """
    from omegaconf import OmegaConf

    if name not in options(group):
        raise ConfigError(unknown_option(group, name))
    text = (resources.files(CONFIG_MODULE) / group / f"{name}.yaml").read_text(encoding="utf-8")
    plain = OmegaConf.to_container(OmegaConf.create(text))
    return {str(key): value for key, value in plain.items()} if isinstance(plain, dict) else {}


def unknown_option(group: str, name: str) -> str:
    """Return the message for a name that a group does not offer."""
    known = options(group)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"there is no {group} '{name}'.{hint} Available: {', '.join(known)}."


@contextmanager
def _hydra() -> Iterator[None]:
    """Initialise Hydra on our config module, unless a running Hydra job already did."""
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    if GlobalHydra.instance().is_initialized():
        yield
    else:
        with initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            yield


def compose(overrides: Sequence[str]) -> Plain:
    """Compose the menu with Hydra overrides and return plain, resolved values.

    Raises:
        ConfigError: if an override names something that does not exist, with what does.
    """
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with _hydra():
            config = hydra_compose(CONFIG_NAME, overrides=list(overrides))
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_readable(error, overrides)) from error
    composed = {str(key): value for key, value in plain.items()} if isinstance(plain, dict) else {}
    _refuse_unknown(composed)
    return composed


def _refuse_unknown(composed: Plain) -> None:
    """Refuse keys that ``+key=value`` added and that nothing reads."""
    unknown = sorted(set(composed) - {*TOP_LEVEL, *GROUPS})
    if unknown:
        known = ", ".join((*GROUPS, *TOP_LEVEL))
        raise ConfigError(f"the config has no key '{unknown[0]}'; it has: {known}.")


def _readable(error: Exception, overrides: Sequence[str]) -> str:
    text = f"{error}\n{error.__cause__ or ''}"
    missing = re.search(r"Could not (?:find|load) '([\w-]+)/([^']+)'", text)
    if missing is not None:
        return unknown_option(missing[1], missing[2])
    mandatory = re.search(r"Missing mandatory value.*?full_key: (\S+)", text, re.DOTALL)
    if mandatory is not None:
        return f"the config needs a value: add {mandatory[1]}=... to the command."
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown is not None:
        return _unknown_key(unknown[1], overrides)
    said = str(error).split("To append to your config")[0].strip()
    lines = [line for line in said.splitlines() if not line.startswith("In 'run'")]
    return f"the config does not accept {' '.join(overrides)!r}: {' '.join(lines[:2])}"


def _unknown_key(path: str, overrides: Sequence[str]) -> str:
    """Return the message for a key that its node does not have, with the keys that it has."""
    others = [o for o in overrides if o.split("=", 1)[0].lstrip("+~") != path]
    node: Any = compose(others)
    *parents, key = path.split(".")
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    known = sorted(node) if isinstance(node, dict) else []
    close = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean '{'.'.join([*parents, close[0]])}'?" if close else ""
    where = f"'{'.'.join(parents)}'" if parents else "the config"
    there = ", ".join(key for key in known if not key.startswith("_")) or "none"
    return f"there is no config key '{path}'.{hint} In {where} there are: {there}."


def typed(kind: type[T], plain: Mapping[str, Any], where: str) -> T:
    """Build a config dataclass from a mapping.

    Args:
        kind: a dataclass whose fields are the accepted keys.
        plain: the values, by key.
        where: name of the config node, for messages (``workload``).

    Raises:
        ConfigError: if a key is unknown, a required one is absent, or a value is of another type.
    """
    declared = fields(kind)  # type: ignore[arg-type]
    known = {field.name for field in declared}
    required = {f.name for f in declared if f.default is MISSING and f.default_factory is MISSING}
    unknown = sorted(set(plain) - known)
    if unknown:
        raise ConfigError(f"{where} has no key {unknown[0]!r}; it has: {', '.join(sorted(known))}.")
    absent = sorted(required - set(plain))
    if absent:
        raise ConfigError(f"{where} needs a value for {absent[0]!r}.")
    _check_scalars(kind, plain, where)
    try:
        return kind(**plain)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _check_scalars(kind: type, plain: Mapping[str, Any], where: str) -> None:
    """Refuse a value that is none of the scalars that its field is annotated with.

    Fields of other types, and those of none, are left to the class. Hydra gives ``no`` and ``off``
    as text, which is true wherever it is taken for a boolean.
    """
    hints = get_type_hints(kind)
    for name, value in plain.items():
        hint = hints[name]
        allowed = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        if all(each in _SCALARS for each in allowed) and not _is_one_of(value, allowed):
            known = ", ".join(_SCALARS[each] for each in allowed)
            raise ConfigError(f"{where}.{name} is {value!r}; it can be: {known}.")


def _is_one_of(value: object, allowed: Sequence[type]) -> bool:
    if float in allowed and isinstance(value, int | float) and not isinstance(value, bool):
        # False of NaN, of infinity, and of integers that no float holds.
        return abs(value) <= sys.float_info.max
    return type(value) in allowed
