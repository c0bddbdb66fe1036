"""The entry point `cl-train`."""

from __future__ import annotations

import logging
import os
import stat
import sys
import traceback
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
from cl_runner.config import command_line, manual, masking, search_path
from cl_runner.config import hydra_loader as loader
from cl_runner.config.compose import from_hydra, trust
from cl_runner.config.overrides import key_of
from cl_runner.config.paths import CONF, GROUPS
from cl_runner.errors import ConfigError, DataError, RunError
from cl_runner.hidden import masked
from cl_runner.run_folder import changed_code, resume

if TYPE_CHECKING:
    from cl_runner.run_folder.outcome import Results
    from cl_runner.training.settings import Settings


def main() -> None:
    """Run `cl-train`; the exit codes are listed in docs/run_folder.md."""
    with terminal.command():
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises errors instead of printing them
        if _did_something_else(sys.argv[1:]):
            return
        loader.install()
        flags, overrides = command_line.in_order(sys.argv[1:])
        search_path.check_typed()
        if command_line.ASKS_FOR_HELP & {*flags} and (text := manual.asked_for(overrides)):
            print(text, end="")
            return
        with masking.hiding_secrets_of(overrides):
            sys.argv[1:] = [*flags, *resume.with_its_own_settings(overrides)]
            try:
                with manual.comments_in_cfg():
                    _hydra_main()
            except (HydraException, OmegaConfBaseException) as error:
                raise from_hydra(error) from None


def _did_something_else(words: list[str]) -> bool:
    """Whether the command line is not about a run, but about plugins or files to start from. Then
    that is done."""
    if words[:1] == ["new"]:
        from cl_runner.new import command as new

        new.main(words[1:])
        return True
    if any(word.partition("=")[0] in command_line.ABOUT_PLUGINS for word in words):
        from cl_runner.plugins import command as plugins

        plugins.main(words)
        return True
    return False


def one_job(config: DictConfig) -> float | None:
    """A single run, or one of many. Returns what another sweeper may maximise: the mean on held-out
    training samples after the last task (minus the error, in regression), or None."""
    terminal.never_fail()  # a launcher's worker does not go through `main`
    job = HydraConfig.get()
    try:
        results, folder = _job(config, job)
        from cl_runner.training.results import summary  # after those of the run: it is slow

        print(summary(results, folder))
        return results.objective
    except Exception as error:
        error, secrets, masks = _to_be_masked(error, config, job)
        if isinstance(error, RunError):
            message = masked(str(error), secrets)
            if job.mode == RunMode.RUN:
                terminal.end(message, error.exit_code)  # otherwise Hydra would print it, too
            print(message, file=sys.stderr)
        if job.mode == RunMode.RUN:
            _refuse_to_show(error, masks)
            raise
        from cl_runner.tracking.local import write_status

        folder = Path(config.output_root) / config.name  # given by its sweep
        begun = (folder / "config.yaml").exists()  # an existing run stays as it is
        if not begun and not folder.is_symlink():
            write_status(folder, "failed", {}, error, masks)
        # The sweep's other jobs still run. Some launchers write this error to their files.
        raise RunError(masked(str(error), masks)) from None


def one_run(config: DictConfig) -> tuple[Results, Path]:
    """A single run for a caller in this process: what it measured, and its folder. What it raises
    shows no secret."""
    job = HydraConfig.get()
    try:
        return _job(config, job)
    except Exception as error:
        ours, secrets, masks = _to_be_masked(error, config, job)
        if isinstance(ours, RunError):
            ours.args = (masked(str(ours), secrets),)
            if isinstance(ours, ConfigError):
                ours.problems = tuple(problem.masked(secrets) for problem in ours.problems)
            raise ours from None
        if shown := _masked_traceback(error, masks):
            raise RunError(shown) from None
        raise


_hydra_main = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(one_job)


def _to_be_masked(
    error: Exception, config: DictConfig, job: HydraConf
) -> tuple[Exception, dict[str, str], dict[str, str]]:
    """The error of a job in our words; what to mask in its message, and what in files."""
    if isinstance(error, OmegaConfBaseException):  # an interpolation that leads nowhere
        typed = masking.masks_of_words(_overrides(job))
        return from_hydra(error), typed, typed
    if isinstance(error, DataError) and "Hint: " not in str(error):
        error.args = (f"{error}{_where_data_may_be(config, str(error))}",)
    return error, masking.masks_of_secrets(config), masking.masks(config)


def _where_data_may_be(config: DictConfig, message: str) -> str:
    """A hint for an error about the folder of the data if there is no such folder."""
    root = str(OmegaConf.select(config, "dataset.root", default=""))
    named = any(
        f"{place}{end}" in message for place in (root, os.path.abspath(root)) for end in "/:"
    )
    if not root or not named or os.path.isdir(root):
        return ""
    return f". Hint: {root} is not a folder; dataset.root=FOLDER says where the data is"


def _refuse_to_show(error: Exception, masks: dict[str, str]) -> None:
    """If Python's traceback would show a secret, end the process with a masked one."""
    if shown := _masked_traceback(error, masks):
        terminal.end(shown, 1)


def _masked_traceback(error: Exception, masks: dict[str, str]) -> str:
    """Python's traceback without its secrets; empty if it has none."""
    shown = "".join(traceback.format_exception(error))
    hidden = masked(shown, masks)
    return "" if hidden == shown else hidden.rstrip()


def _job(config: DictConfig, job: HydraConf) -> tuple[Results, Path]:
    given = {key_of(override) for override in _overrides(job)}
    if job.mode == RunMode.RUN and (config.plan or job.runtime.choices.get("sweep")):
        key, value = ("plan", True) if config.plan else ("sweep", job.runtime.choices["sweep"])
        hint = "cl_runner.sweep(...)" if command_line.from_python() else "add -m: cl-train -m ..."
        raise ConfigError.of(key, value, "only applies to a sweep", hint)
    trust(config, given)
    logging.getLogger("cl_runner").propagate = False  # Hydra's handler would repeat it
    # These imports take seconds; help and shell completion do not need them.
    from cl_runner.machine import choose_device
    from cl_runner.training.run import run
    from cl_runner.training.settings import read

    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    settings = read(plain)  # type: ignore[arg-type]
    written = masking.as_written(config) | {"device": choose_device(settings.device)}
    folder = _folder(settings, written, job, "name" in given)
    results = resume.finished(folder, written, settings.resume)
    if results is not None:
        print(f"already complete: {folder}")
        if other_code := changed_code.of_run(folder, written):
            print(f"warning: {other_code}", file=sys.stderr)
    else:
        results = run(
            settings,
            folder,
            config=written,
            names=_names(config, job),
            overrides=masking.kept_overrides(_overrides(job)),
            masks=masking.masks(config),
        )
    return results, folder


def _overrides(job: HydraConf) -> list[str]:
    """The settings on the command line as typed, `${oc.env:NAME}` not replaced by its value."""
    overrides: Any = OmegaConf.to_container(job.overrides, resolve=False)
    return [str(override) for override in overrides["task"]]


def _names(config: DictConfig, job: HydraConf) -> dict[str, str]:
    """The name of each part of the run: its option, or its class if the command line chose a
    class. Also the experiment and the group that the run belongs to."""
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


def _folder(settings: Settings, written: dict[str, Any], job: HydraConf, named: bool) -> Path:
    """The folder of this run, existing or not. named: whether the command line gives its name, so
    that another one is worth a line. Raises ConfigError for an impossible path."""
    root = Path(settings.output_root).absolute()
    folder = root / settings.name
    alone = job.mode == RunMode.RUN  # the folder of a sweep's job is given by its sweep
    try:
        if alone and settings.resume not in (None, "auto"):
            folder = Path(settings.resume).absolute()
        elif alone and settings.resume == "auto":
            found = resume.find(root, written) or folder
            if named and found != folder:
                why = f"{found} is the run with these settings"
                print(f"resume=auto: {why}; name={settings.name} is not used", file=sys.stderr)
            folder = found
        links = stat.S_ISLNK(os.lstat(folder).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return folder
    except (OSError, ValueError) as error:  # too long, or contains a NUL
        reason = getattr(error, "strerror", None) or error
        raise ConfigError.of("output_root", root, f"cannot be a folder: {reason}") from None
    if links:
        raise ConfigError.of("name", folder, "is a symbolic link, which could point anywhere")
    return folder


if __name__ == "__main__":
    # Under its own name: the workers of a launcher cannot import `__main__`.
    from cl_runner import train

    train.main()
