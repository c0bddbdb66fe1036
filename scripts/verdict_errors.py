"""How often `cl-report` is wrong, and how often it sees what is there: simulated seeds.

Five methods are compared with a baseline. Prints, for 3, 5 and 10 seeds, the share of experiments
in which any difference is called where there is none, then the share in which a difference of three
standard deviations is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cl_runner.report.compare.significance import LEVEL, holm, t_test

Floats = NDArray[np.float64]
Shape = tuple[int, ...]
Draw = Callable[[np.random.Generator, Shape], Floats]
SEEDS = (3, 5, 10)
METHODS = 5


def normal(rng: np.random.Generator, shape: Shape) -> Floats:
    return rng.normal(size=shape)


def exponential(rng: np.random.Generator, shape: Shape) -> Floats:
    """Skewed to the right, with mean 0 and s.d. 1."""
    return rng.exponential(size=shape) - 1


def lognormal(rng: np.random.Generator, shape: Shape) -> Floats:
    """More skewed, with mean 0 and s.d. 1."""
    values: Floats = np.exp(rng.normal(size=shape))
    return (values - math.exp(0.5)) / math.sqrt(math.e * (math.e - 1))


def collapsing(rng: np.random.Generator, shape: Shape) -> Floats:
    """One seed of five fails: far below the others, with mean 0 and s.d. 1."""
    failed = rng.random(size=shape) < 0.2
    return np.where(failed, -2.0, 0.5) + 0.1 * rng.normal(size=shape)


def constant(rng: np.random.Generator, shape: Shape) -> Floats:
    return np.zeros(shape)


NO_DIFFERENCE: dict[str, tuple[Draw, Draw, float]] = {
    "normal": (normal, normal, 0),
    "exponential": (exponential, exponential, 0),
    "log-normal": (lognormal, lognormal, 0),
    "one of five fails": (collapsing, collapsing, 0),
    "exponential, the baseline normal": (normal, exponential, 0),
    "normal, the baseline exponential": (exponential, normal, 0),
    "log-normal, the baseline normal": (normal, lognormal, 0),
    "tied: a test sample is half an s.d.": (normal, normal, 0.5),
    "tied: a test sample is an s.d.": (normal, normal, 1),
    "tied: a test sample is two s.d.": (normal, normal, 2),
    "exponential, the baseline constant": (constant, exponential, 0),
    "one of five fails, the baseline constant": (constant, collapsing, 0),
}
"""The baseline's seeds, the methods' seeds, and what one test sample counts. All have mean 0."""
BEYOND = tuple(NO_DIFFERENCE)[-2:]
"""Here the differences themselves are far from normal, as the baseline does not vary."""


def differences(kind: str, seeds: int, repeats: int) -> Floats:
    """Methods minus baseline [repeats, METHODS, seeds]; there is no difference but chance."""
    baseline, methods, step = NO_DIFFERENCE[kind]
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [baseline(rng, (repeats, 1, seeds)), methods(rng, (repeats, METHODS, seeds))], axis=1
    )
    if step:  # counts, half way between two of them on average, where most seeds differ
        values = step * np.round(values / step + 0.5)
    of_methods: Floats = values[:, 1:] - values[:, :1]
    return of_methods


def errors(kind: str, seeds: int, repeats: int) -> float:
    """The share of experiments in which any difference is called."""
    tests = t_test(differences(kind, seeds, repeats), step=NO_DIFFERENCE[kind][-1])
    return float((holm(tests.p).p < LEVEL).any(-1).mean())


def power(seeds: int, repeats: int, different: int = 1) -> float:
    """The share of experiments in which a difference of 3 s.d. is seen, beside others with it
    (`different` in all) and without."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(repeats, METHODS, seeds))
    values[:, :different] += 3
    return float((holm(t_test(values).p).p[:, 0] < LEVEL).mean())


def main() -> None:
    repeats = 200_000
    print(f"any of {METHODS} called, in %: {', '.join(map(str, SEEDS))} seeds")
    for kind in NO_DIFFERENCE:
        print(f"{kind:42}", *(f"{100 * errors(kind, n, repeats):6.1f}" for n in SEEDS), flush=True)
    for different in (1, METHODS):
        seen = (f"{100 * power(n, repeats, different):6.1f}" for n in SEEDS)
        print(f"{f'3 s.d. seen, {different} of {METHODS} differ':42}", *seen)


if __name__ == "__main__":
    main()
