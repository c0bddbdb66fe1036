"""The entry point `cl-train`: Hydra lives here and nowhere else."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cl_runner.errors import ConfigError, RunError

HERE = Path(__file__).resolve().parent
# In a checkout conf/ is beside the package, in a wheel inside it.
CONF = next(p for p in (HERE / "conf", HERE.parent / "conf") if (p / "config.yaml").is_file())
SECRET = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)


def main() -> None:
    """Run `cl-train`; the exit codes are listed in the README."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them
    try:
        _hydra_main()
    except RunError:  # told by the job of a sweep that raised it
        sys.exit(1)
    except (HydraException, OmegaConfBaseException) as error:
        told = _from_hydra(error)
        print(told, file=sys.stderr)
        sys.exit(told.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _hydra_main(config: DictConfig) -> float:
    """One job: a run of its own, or one of a sweep. Returns what a sweeper maximises."""
    job = HydraConfig.get()
    try:
        return _job(config, job)
    except RunError as error:
        print(error, file=sys.stderr)
        if job.mode == RunMode.RUN:
            sys.exit(error.exit_code)
        from cl_runner.tracking.local import write_status

        write_status(Path(job.runtime.output_dir), "failed", error)
        raise  # the other jobs of the sweep run all the same


def _job(config: DictConfig, job: HydraConf) -> float:
    choices = job.runtime.choices
    in_sweep = job.mode == RunMode.MULTIRUN
    trusted = [o for o in job.overrides.task if o.lstrip("+").startswith("trusted_targets=")]
    if config.trusted_targets and not trusted:
        allowed = "is taken from the command line alone, never from a file"
        raise ConfigError.of("trusted_targets", config.trusted_targets, allowed)
    if config.trusted_targets:
        sys.path.append(os.getcwd())  # where a user's own package may be
    logging.getLogger("cl_runner").propagate = False  # Hydra's own handler would tell it twice
    # These imports take seconds; help and shell completion do without them.
    from cl_runner.report.table import summary
    from cl_runner.run import run
    from cl_runner.settings import read

    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    settings = read(plain)  # type: ignore[arg-type]
    folder = Path(job.runtime.output_dir if in_sweep else settings.folder).absolute()
    experiment = choices.get("experiment") or choices["dataset"]
    names = {g: choices[g] for g in ("dataset", "model", "strategy", "optimizer", "tracker")}
    names["experiment"] = experiment
    names["group"] = Path(job.sweep.dir).name if in_sweep else experiment
    results = run(settings, folder, config=_as_written(config), names=names)
    print(summary(results, folder))
    return float(results["average_accuracy"])


def _as_written(config: DictConfig) -> dict[str, Any]:
    """The composed settings without values of the environment and without secrets."""
    resolver = "oc.env"
    OmegaConf.register_new_resolver(
        resolver, lambda name, default=None: f"<env:{name}>", replace=True
    )
    try:
        plain = OmegaConf.to_container(config.copy(), resolve=True)
    finally:
        _restore_env_resolver()
    assert isinstance(plain, dict)
    return {str(key): _masked(str(key), value) for key, value in plain.items()}


def _restore_env_resolver() -> None:
    from omegaconf.resolvers import oc

    OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def _masked(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _masked(str(k), v) for k, v in value.items()}
    return "<masked>" if SECRET.search(key) and value is not None else value


def _from_hydra(error: Exception) -> ConfigError:
    """One line for what Hydra says in several: key, value, what is there, nearest name."""
    from cl_runner.settings import nearest

    text = f"{error} {error.__cause__ or ''}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = [str(option) for option in error.options or []]
        return ConfigError.of(group, name, "no such option", nearest(name, options))
    unknown = re.search(r"Could not override '([^']+)'", text)
    if isinstance(error, ConfigCompositionException) and unknown:
        key = unknown.group(1)
        value = next((a.partition("=")[2] for a in sys.argv if a.startswith(f"{key}=")), "")
        return ConfigError.of(key, value, "no such setting", nearest(key, _known_keys()))
    return ConfigError.of("command line", " ".join(text.split()), "cannot be understood")


def _known_keys() -> list[str]:
    """Every key of the configuration that the chosen groups make."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        groups = [a for a in sys.argv[1:] if re.match(r"^\w+=\w+$", a)]
        try:
            config = hydra.compose("config", groups)
        except (HydraException, OmegaConfBaseException):
            config = hydra.compose("config")
    return _leaves(OmegaConf.to_container(config), "")


def _leaves(node: Any, prefix: str) -> list[str]:
    if not isinstance(node, dict):
        return [prefix]
    return [k for n, v in node.items() for k in _leaves(v, f"{prefix}.{n}" if prefix else str(n))]


if __name__ == "__main__":
    main()
