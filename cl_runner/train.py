"""The entry point `cl-train`: Hydra lives here and nowhere else."""

from __future__ import annotations

import logging
import os
import re
import stat
import sys
import traceback
import warnings
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
)
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cl_runner import loader, masking, resume, terminal
from cl_runner.config import command_line
from cl_runner.config.paths import CONF
from cl_runner.errors import MISSING, ConfigError, RunError
from cl_runner.hidden import masked

if TYPE_CHECKING:
    from cl_runner.settings import Settings


def main() -> None:
    """Run `cl-train`; the exit codes are listed in the README."""
    with terminal.command():
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises errors instead of printing them
        # Our preset bears the name of hydra-ray-launcher's own, and is whole without that one.
        warnings.filterwarnings("ignore", r"\s*'hydra/launcher/ray' is validated against")
        loader.install()
        flags, overrides = command_line.in_order(sys.argv[1:])
        with masking.hiding_secrets_of(overrides):
            sys.argv[1:] = [*flags, *resume.with_its_own_settings(overrides)]
            try:
                _hydra_main()
            except (HydraException, OmegaConfBaseException) as error:
                raise from_hydra(error) from None


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _hydra_main(config: DictConfig) -> float:
    """One job: a run of its own, or one of a sweep. Returns what a sweeper maximises."""
    terminal.never_fail()  # a launcher's worker comes here without `main`
    job = HydraConfig.get()
    try:
        return _job(config, job)
    except Exception as error:
        secrets = masks = masking.masks_of_words(_overrides(job))
        if isinstance(error, OmegaConfBaseException):  # an interpolation that leads nowhere
            error = from_hydra(error)
        else:
            secrets, masks = masking.masks_of_secrets(config), masking.masks(config)
        if isinstance(error, RunError):
            told = masked(str(error), secrets)
            if job.mode == RunMode.RUN:
                terminal.end(told, error.exit_code)  # else Hydra would say it, too
            print(told, file=sys.stderr)
        if job.mode == RunMode.RUN:
            _refuse_to_show(error, masks)
            raise
        from cl_runner.tracking.local import write_status

        folder = Path(config.output_root) / config.name  # as its sweep has told it
        if not (folder / "status.json").exists():  # a run that is there is left as it is
            write_status(folder, "failed", {}, error, masks)
        # The other jobs of the sweep run all the same. Some launchers keep this in their files.
        raise RunError(masked(str(error), masks)) from None


def _refuse_to_show(error: Exception, masks: dict[str, str]) -> None:
    """End with the traceback that Python would print, if that would show a secret."""
    told = "".join(traceback.format_exception(error))
    if masked(told, masks) != told:
        terminal.end(masked(told, masks).rstrip(), 1)


def _job(config: DictConfig, job: HydraConf) -> float:
    given = {resume.key_of(override) for override in _overrides(job)}
    if job.mode == RunMode.RUN and (config.plan or job.runtime.choices.get("sweep")):
        key, value = ("plan", True) if config.plan else ("sweep", job.runtime.choices["sweep"])
        raise ConfigError.of(key, value, "is of a sweep", "cl-train -m ...")
    trust(config, given)
    logging.getLogger("cl_runner").propagate = False  # Hydra's own handler would tell it twice
    # These imports take seconds; help and shell completion do without them.
    from cl_runner.environment import choose_device
    from cl_runner.report.table import summary
    from cl_runner.run import run
    from cl_runner.settings import read

    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    settings = read(plain)  # type: ignore[arg-type]
    written = masking.as_written(config) | {"device": choose_device(settings.device)}
    folder = _folder(settings, written, job)
    results = resume.finished(folder, written, settings.resume)
    if results is not None:
        print(f"already complete: {folder}")
    else:
        results = run(
            settings,
            folder,
            config=written,
            names=_names(config, job),
            overrides=masking.kept_overrides(_overrides(job)),
            masks=masking.masks(config),
        )
    print(summary(results, folder))
    regression = results["metrics_are_of"] == "mse"
    return -float(results["average_mse"]) if regression else float(results["average_accuracy"])


def trust(config: DictConfig, given: Set[str]) -> None:
    """Let the user's own packages be imported, if the command line, which gave these keys, says so.

    Raises ConfigError if a file does."""
    if not config.trusted_targets:
        return
    if "trusted_targets" not in given:
        allowed = "is taken from the command line alone, never from a file"
        raise ConfigError.of("trusted_targets", config.trusted_targets, allowed)
    if os.getcwd() not in sys.path:  # where a user's own package may be
        sys.path.append(os.getcwd())


def _overrides(job: HydraConf) -> list[str]:
    """The settings on the command line as typed, `${oc.env:NAME}` not replaced by its value."""
    overrides: Any = OmegaConf.to_container(job.overrides, resolve=False)
    return [str(override) for override in overrides["task"]]


def _names(config: DictConfig, job: HydraConf) -> dict[str, str]:
    """What each part of the run is called: its option, or its class if the command line chose
    that; and the experiment and the group that the run belongs to."""
    choices = job.runtime.choices
    given = {resume.key_of(override) for override in _overrides(job)}
    names = {}
    for group in resume.GROUPS:
        option = None if f"{group}._target_" in given else choices.get(group)
        names[group] = option or config[group]._target_.rpartition(".")[2]
    names["experiment"] = choices.get("experiment") or names["dataset"]
    in_sweep = job.mode == RunMode.MULTIRUN
    names["group"] = Path(config.output_root).name if in_sweep else names["experiment"]
    return names


def _folder(settings: Settings, written: dict[str, Any], job: HydraConf) -> Path:
    """Where this run is or will be. Raises ConfigError for a path that cannot be one."""
    root = Path(settings.output_root).absolute()
    folder = root / settings.name
    if job.mode == RunMode.MULTIRUN:
        return folder
    try:
        if settings.resume not in (None, "auto"):
            folder = Path(settings.resume).absolute()
        elif settings.resume == "auto":
            folder = resume.find(root, written) or folder
        links = stat.S_ISLNK(os.lstat(folder).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return folder
    except (OSError, ValueError) as error:  # too long, or with a NUL
        reason = getattr(error, "strerror", None) or error
        raise ConfigError.of("output_root", root, f"cannot be a folder: {reason}") from None
    if links:
        raise ConfigError.of("name", folder, "is a link, which could lead anywhere")
    return folder


def from_hydra(error: Exception) -> ConfigError:
    """One line for what Hydra says in several: key, value, what is there, nearest name."""
    from cl_runner.settings import nearest

    text = f"{error} {error.__cause__ or ''}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = [str(option) for option in error.options or []]
        key = group or "--config-name"
        return ConfigError.of(key, name, "no such option", nearest(name, options))
    unknown = re.search(r"Could not override '([^']+)'", text)
    if isinstance(error, ConfigCompositionException) and unknown:
        key = unknown.group(1)
        # As typed; what a sweep's preset gives Hydra repeats where it says how to append it.
        typed = _typed(key)
        typed += re.findall(rf"\+{re.escape(key)}=(\S*)", text)
        if typed:  # else it stands in a file
            deep = re.search(r"full_key: (\S+)", text)  # of a value with keys of its own
            whole = deep.group(1) if deep else key
            lacks = "no such setting" if whole == key else f"no such setting: {whole}"
            return ConfigError.of(key, typed[0], lacks, nearest(whole, _known_keys()))
    several = re.search(r"Ambiguous value for argument '([^=]+)=(.*?)'\s+1\.", text, re.DOTALL)
    if several:
        (told,) = masking.shown(["=".join(several.groups())])
        key, _, values = told.partition("=")
        hint = f"cl-train -m {key}={values}; a list is written {key}=[{values}]"
        return ConfigError.of(key, values, "several values are of a sweep", hint)
    return _of_a_value(error, text)


def _of_a_value(error: Exception, text: str) -> ConfigError:
    """The same for a value that cannot stand where it is put, or leads nowhere."""
    merged = re.search(r"Error merging override \S*?([\w./@]+)=", text)
    key = merged.group(1) if merged else getattr(error, "full_key", None)
    said = str(error.__cause__) if merged else text
    said = said.replace("DictConfig", "a node with keys").replace("ListConfig", "a list")
    reason = " ".join(re.sub(r"(full_key|object_type|reference_type)[:=] ?\S*", "", said).split())
    allowed = reason.rstrip(".")[:300]
    if not key:
        return ConfigError.of("command line", MISSING, f"cannot be understood: {allowed}")
    value = (_typed(key) or [MISSING])[-1]
    return ConfigError.of(key, value, f"cannot be {'taken' if merged else 'read'}: {allowed}")


def _typed(key: str) -> list[Any]:
    """What the command line gives a key."""
    return [a.partition("=")[2] for a in sys.argv if a.lstrip("+~").startswith(f"{key}=")]


def _known_keys() -> list[str]:
    """Every key of the configuration that the chosen groups make, and the groups."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        groups = [a for a in sys.argv[1:] if re.match(r"^\w+=\w+$", a)]
        try:
            config = hydra.compose("config", groups)
        except (HydraException, OmegaConfBaseException):
            config = hydra.compose("config")
    return [*_leaves(OmegaConf.to_container(config), ""), *resume.GROUPS, "experiment", "sweep"]


def _leaves(node: Any, prefix: str) -> list[str]:
    if not isinstance(node, dict):
        return [prefix]
    return [k for n, v in node.items() for k in _leaves(v, f"{prefix}.{n}" if prefix else str(n))]


if __name__ == "__main__":
    # By its name: a launcher's workers cannot import what is called __main__ here.
    from cl_runner.train import main as by_name

    by_name()
