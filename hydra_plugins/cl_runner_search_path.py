"""The options of trusted plugins on the search path of cl-runner, where Hydra looks for such."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class Plugins(SearchPathPlugin):
    """After our own `conf/`, so that an option of ours wins. Other applications of Hydra's in the
    same environment are left as they are."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from cl_runner.config.paths import CONF

        ours = any(each.provider == "main" and each.path == str(CONF)
                   for each in search_path.get_path())  # fmt: skip
        if ours:
            from cl_runner.plugins import trusted

            for folder in trusted.conf_folders():
                search_path.append("cl-runner plugin", f"file://{folder}")
