"""Hydra's errors about a command line as one line: key, value, what is allowed, nearest name."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Set
from typing import Any

import hydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cl_runner.config import command_line, masking, search_path, targets
from cl_runner.config.paths import GROUPS
from cl_runner.config.traits import flat
from cl_runner.errors import MISSING, ConfigError, nearest
from cl_runner.plugins import installed, loading, trusted


def trust(config: DictConfig, given: Set[str]) -> None:
    """Let the user's own packages be imported if the command line asks for it.

    given: the keys on the command line. Raises ConfigError if a file asks for it.
    """
    if not config.trusted_targets:
        return
    if "trusted_targets" not in given:
        allowed = "can only be given on the command line, never in a file"
        raise ConfigError.of("trusted_targets", config.trusted_targets, allowed)
    if os.getcwd() not in sys.path:  # where the user's own package may be
        sys.path.append(os.getcwd())
    packages = OmegaConf.to_container(config)["trusted_targets"]  # type: ignore[index, call-overload]
    if not isinstance(packages, list) or not all(isinstance(name, str) for name in packages):
        allowed = "must be a list of packages"
        raise ConfigError.of("trusted_targets", packages, allowed, "trusted_targets=[mine]")
    targets.trust(packages)
    loading.load_packages(packages)


def from_hydra(error: Exception) -> ConfigError:
    """An error of Hydra's, often several lines long, as one line."""
    text = f"{error} {error.__cause__ or ''}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = [str(option) for option in error.options or []]
        key = group or "--config-name"
        if plugin := installed.offering(group, name):
            hint = f"the plugin {plugin.name} has it: cl-train --trust {plugin.name}"
            return ConfigError.of(key, name, "no such option yet", hint)
        absent = [f"the plugin {p.name} {why}" for p, why in trusted.missing().items()]
        hint = "; ".join(filter(None, [nearest(name, options), *absent]))
        return ConfigError.of(key, name, "no such option", hint)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if isinstance(error, ConfigCompositionException) and unknown:
        key = unknown.group(1)
        # As typed, or, from a sweep's preset, as Hydra repeats it to say how to append it.
        typed = _typed(key) + re.findall(rf"\+{re.escape(key)}=(\S*)", text)
        if typed:  # else a file gives it
            deep = re.search(r"full_key: (\S+)", text)  # the value has keys of its own
            whole = deep.group(1) if deep else key
            if (of_option := _lacked_by_some(key, typed[0])) is not None:
                return of_option
            lacks = "no such setting" if whole == key else f"no such setting: {whole}"
            return ConfigError.of(key, typed[0], lacks, nearest(whole, _known_keys()))
    several = re.search(r"Ambiguous value for argument '([^=]+)=(.*?)'\s+1\.", text, re.DOTALL)
    if several:
        (override,) = masking.shown(["=".join(several.groups())])
        key, _, values = override.partition("=")
        command = (
            f'cl_runner.sweep("{key}={values}")'
            if command_line.from_python()
            else (f"cl-train -m {key}={values}")
        )
        hint = f"{command}; a list is written {key}=[{values}]"
        return ConfigError.of(key, values, "several values need a sweep", hint)
    return _of_a_value(error, text)


def _lacked_by_some(key: str, value: str) -> ConfigError | None:
    """The error for a setting that only some of the swept options of its group have."""
    group = key.partition(".")[0]
    options = [option for word in _typed(group) for option in word.split(",")]
    if len(options) < 2:
        return None
    have = [option for option in options if key in _known_keys(f"{group}={option}")]
    lack = [option for option in options if option not in have]
    if not have or not lack:
        return None
    allowed = f"{' and '.join(lack)} {'has' if len(lack) == 1 else 'have'} no such setting"
    hint = f"sweep {group}={','.join(have)} by itself, and give both folders to cl-report"
    return ConfigError.of(key, value, allowed, hint)


def _of_a_value(error: Exception, text: str) -> ConfigError:
    """The same for a value of the wrong kind, or an interpolation that leads nowhere."""
    merged = re.search(r"Error merging override \S*?([\w./@]+)=", text)
    key = merged.group(1) if merged else getattr(error, "full_key", None)
    reason = str(error.__cause__) if merged else text
    reason = reason.replace("DictConfig", "a node with keys").replace("ListConfig", "a list")
    reason = re.sub(r"(full_key|object_type|reference_type)[:=] ?\S*", "", reason)
    reason = " ".join(reason.split()).rstrip(".")[:300]
    if not key:
        return ConfigError.of("command line", MISSING, f"cannot be understood: {reason}")
    value = (_typed(key) or [MISSING])[-1]
    return ConfigError.of(key, value, f"cannot be {'used' if merged else 'read'}: {reason}")


def _typed(key: str) -> list[Any]:
    """The values that the command line gives for a key."""
    words = command_line.of_this_command()
    return [word.partition("=")[2] for word in words if word.lstrip("+~").startswith(f"{key}=")]


def _known_keys(*chosen: str) -> list[str]:
    """The groups, and every key of the configuration that the chosen options make up, of a
    list the first. chosen: more of them, `strategy=ewc`."""
    with search_path.hydra_with(search_path.typed()):
        words = command_line.of_this_command()
        found = (re.fullmatch(r"(\w+=\w+)(,\w+)*", word) for word in words)
        groups = [*(match[1] for match in found if match), *chosen]
        try:
            config = hydra.compose("config", groups)
        except (HydraException, OmegaConfBaseException):
            config = hydra.compose("config")
    return [*dict(flat(OmegaConf.to_container(config))), *GROUPS, "experiment", "sweep"]
