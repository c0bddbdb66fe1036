"""Omniglot: 1623 characters of 50 alphabets, each drawn by 20 people; an alphabet is a task."""

from __future__ import annotations

from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path

import torch

from cl_runner.config.setting_types import Size
from cl_runner.config.targets import target
from cl_runner.data.picture_files import open_picture
from cl_runner.data.pictures import decoded
from cl_runner.data.source import Split, remedy
from cl_runner.errors import DataError

FOLDER = "omniglot-py"
SETS: dict[str, dict[str, int]] = {
    "images_background": {
        "Alphabet_of_the_Magi": 20, "Anglo-Saxon_Futhorc": 29, "Arcadian": 26, "Armenian": 41,
        "Asomtavruli_(Georgian)": 40, "Balinese": 24, "Bengali": 46,
        "Blackfoot_(Canadian_Aboriginal_Syllabics)": 14, "Braille": 26, "Burmese_(Myanmar)": 34,
        "Cyrillic": 33, "Early_Aramaic": 22, "Futurama": 26, "Grantha": 43, "Greek": 24,
        "Gujarati": 48, "Hebrew": 22, "Inuktitut_(Canadian_Aboriginal_Syllabics)": 16,
        "Japanese_(hiragana)": 52, "Japanese_(katakana)": 47, "Korean": 40, "Latin": 26,
        "Malay_(Jawi_-_Arabic)": 40, "Mkhedruli_(Georgian)": 41, "N_Ko": 33,
        "Ojibwe_(Canadian_Aboriginal_Syllabics)": 14, "Sanskrit": 42, "Syriac_(Estrangelo)": 23,
        "Tagalog": 17, "Tifinagh": 55,
    },
    "images_evaluation": {
        "Angelic": 20, "Atemayar_Qelisayer": 26, "Atlantean": 26, "Aurek-Besh": 26, "Avesta": 26,
        "Ge_ez": 26, "Glagolitic": 45, "Gurmukhi": 45, "Kannada": 41, "Keble": 26,
        "Malayalam": 47, "Manipuri": 40, "Mongolian": 30, "Old_Church_Slavonic_(Cyrillic)": 45,
        "Oriya": 46, "Sylheti": 28, "Syriac_(Serto)": 23, "Tengwar": 25, "Tibetan": 42, "ULOG": 26,
    },
}  # fmt: skip
"""The characters of each alphabet, by the folder that the archive has them in."""
DRAWINGS = 20
TRAINED = 16


@target
class Omniglot:
    """Both sets of Lake et al. 2015 together, as torchvision keeps them, for a cut by tasks.

    Of each character the drawings 1 to 16 are for training, 17 to 20 for testing: no one has
    drawn for both. Pictures have 105 × 105 pixels, ink is black; they are made grey and stretched
    to `size` × `size`.
    """

    name = "omniglot"

    def __init__(self, *, size: Size) -> None:
        counts = [(name, count) for alphabets in SETS.values() for name, count in alphabets.items()]
        ends = [0, *accumulate(count for _, count in counts)]
        self.shape = (1, size, size)
        self.classes = ends[-1]
        self.task_names = [name for name, _ in counts]
        self.task_classes = [list(range(start, end)) for start, end in pairwise(ends)]

    def load(self, root: str) -> tuple[Split, Split]:
        train, test = [], []
        task = label = 0
        for folder, alphabets in SETS.items():
            for alphabet, count in alphabets.items():
                place = Path(root) / FOLDER / folder / alphabet
                for character in _inside(place, root, count):
                    drawings = _inside(character, root, DRAWINGS)
                    found = [(str(drawing), label, task) for drawing in drawings]
                    train += found[:TRAINED]
                    test += found[TRAINED:]
                    label += 1
                task += 1
        return self._split(train), self._split(test)

    def _split(self, samples: list[tuple[str, int, int]]) -> Split:
        opened = partial(open_picture, channels=1)
        images, _ = decoded([path for path, *_ in samples], self.shape, self.name, opened)
        labels, tasks = torch.tensor([numbers for _, *numbers in samples]).T.contiguous()
        return Split(images, labels, tasks=tasks)


def _inside(folder: Path, root: str, count: int) -> list[Path]:
    """What a folder has, by name. Raises DataError unless it has this many."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    if len(found) != count:
        what = f"{folder} has {len(found)} of {count} entries"
        raise DataError(f"data error: {what}; {remedy('omniglot', root)}")
    return found
