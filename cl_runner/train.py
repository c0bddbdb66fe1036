"""The entry point `cl-train`: Hydra lives here and nowhere else."""

from __future__ import annotations

import logging
import os
import stat
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cl_runner import terminal
from cl_runner.config import command_line, masking
from cl_runner.config import hydra_loader as loader
from cl_runner.config.compose import from_hydra, trust
from cl_runner.config.overrides import key_of
from cl_runner.config.paths import CONF, GROUPS
from cl_runner.errors import ConfigError, RunError
from cl_runner.hidden import masked
from cl_runner.run_folder import resume

if TYPE_CHECKING:
    from cl_runner.training.settings import Settings


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
    given = {key_of(override) for override in _overrides(job)}
    if job.mode == RunMode.RUN and (config.plan or job.runtime.choices.get("sweep")):
        key, value = ("plan", True) if config.plan else ("sweep", job.runtime.choices["sweep"])
        raise ConfigError.of(key, value, "only applies to a sweep", "add -m: cl-train -m ...")
    trust(config, given)
    logging.getLogger("cl_runner").propagate = False  # Hydra's own handler would tell it twice
    # These imports take seconds; help and shell completion do without them.
    from cl_runner.machine import choose_device
    from cl_runner.training.results import summary
    from cl_runner.training.run import run
    from cl_runner.training.settings import read

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
    return results.score


def _overrides(job: HydraConf) -> list[str]:
    """The settings on the command line as typed, `${oc.env:NAME}` not replaced by its value."""
    overrides: Any = OmegaConf.to_container(job.overrides, resolve=False)
    return [str(override) for override in overrides["task"]]


def _names(config: DictConfig, job: HydraConf) -> dict[str, str]:
    """What each part of the run is called: its option, or its class if the command line chose
    that; and the experiment and the group that the run belongs to."""
    choices = job.runtime.choices
    given = {key_of(override) for override in _overrides(job)}
    names = {}
    for group in GROUPS:
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
        raise ConfigError.of("name", folder, "is a symbolic link, which could point anywhere")
    return folder


if __name__ == "__main__":
    # Under its own name: the workers of a launcher cannot import `__main__`.
    from cl_runner import train

    train.main()
