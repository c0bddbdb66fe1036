"""My data set: noisy pictures of four patterns."""

from __future__ import annotations

import torch
from cl_runner.config.targets import target
from cl_runner.data.source import Split


@target
class MyDataset:
    """Four patterns of 8 × 8 pixels, each under noise of its own; the same in every run.

    `root` is the setting `dataset.root`: a data set of files reads them from there.
    """

    name = "my_dataset"
    classes = 4
    shape = (1, 8, 8)

    def load(self, root: str) -> tuple[Split, Split]:
        draw = torch.Generator().manual_seed(0)
        patterns = torch.randint(0, 128, (self.classes, *self.shape), generator=draw)
        splits = []
        for samples in (50, 20):  # of each class, for training and test
            labels = torch.arange(self.classes).repeat_interleave(samples)
            noise = torch.randint(0, 128, (len(labels), *self.shape), generator=draw)
            splits.append(Split((patterns[labels] + noise).to(torch.uint8), labels))
        return splits[0], splits[1]
