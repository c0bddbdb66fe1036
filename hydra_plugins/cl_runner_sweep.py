"""The sweeper, the launcher and the search path of cl-train, where Hydra looks for plugins."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from cl_runner.config.paths import CONF
from cl_runner.jobs import in_turn
from cl_runner.plugins import trusted
from cl_runner.sweeps import sweeper


class Sweep(sweeper.Sweep):
    """Hydra only builds sweepers that are defined in this namespace."""


class InTurn(in_turn.InTurn):
    """The same holds for launchers."""


class OptionsOfPlugins(SearchPathPlugin):
    """The options of trusted packages, after those of `conf/`, so that ours win. Other applications
    of Hydra's in the same environment are left as they are."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        places = [(each.provider, each.path) for each in search_path.get_path()]
        if ("main", str(CONF)) in places:
            for folder in trusted.conf_folders():
                search_path.append("cl-runner plugin", f"file://{folder}")
