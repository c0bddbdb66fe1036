"""Why each group of runs forgot, in means over its seeds and in a sentence for each strategy."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean

from cl_runner.forgetting import Course, Parts, Shares, mean
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.runs import Run
from cl_runner.report.compare.varying import by_strategy
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged

NOTHING_LOST = 0.01
"""A loss below one point is not explained."""
TOLD_APART = 0.1
"""Classes count as told apart if so much of what guessing gets wrong is right."""


@dataclass(frozen=True)
class Reason:
    """What became of the tasks of a group. probed: on validation samples, where a head was
    refitted; otherwise on test samples."""

    group: Group
    runs: list[tuple[Run, Course]]
    probed: bool

    @property
    def courses(self) -> list[Course]:
        return [course for _, course in self.runs]

    @property
    def lost(self) -> Parts:
        """The mean over seeds and earlier tasks, as all that follow."""
        return mean(Parts, [course.lost for course in self.courses])

    @property
    def then(self) -> Shares:
        return mean(Shares, [course.then for course in self.courses])

    @property
    def now(self) -> Shares:
        return mean(Shares, [course.now for course in self.courses])

    @property
    def bias(self) -> float | None:
        """Towards the last task, after it; the mean over seeds."""
        last = [course.bias[-1] for course in self.courses if course.bias is not None]
        return fmean(last) if last else None

    @property
    def chance(self) -> float:
        """What guessing among a task's own classes gives, the mean over earlier tasks."""
        results = self.runs[0][0].results
        return fmean(1 / len(own) for own in results.class_ranges[:-1])

    def of_class(self, number: int) -> float | None:
        """Its accuracy after the last task, the mean over seeds; None if a seed has no sample."""
        found = [course.classes[-1].get(number) for course in self.courses]
        return None if None in found else fmean(share for share in found if share is not None)

    def at(self, after: int, task: int) -> Shares:
        """The mean over seeds."""
        return mean(Shares, [course.shares[after][task] for course in self.courses])

    def parts(self, after: int, task: int) -> Parts:
        """The mean over seeds."""
        return mean(Parts, [course.parts(after, task) for course in self.courses])


def reasons(section: Section) -> list[Reason]:
    """One for each group with predictions, the best first. None in regression or for one task."""
    if section.measure.has_fits or section.tasks < 2:
        return []
    found = (_reason(group) for group in section.best_first(section.measured))
    return [reason for reason in found if reason.runs]


def _reason(group: Group) -> Reason:
    probed = _courses(group, read.PROBE)
    if len(probed) == len(group.complete):
        return Reason(group, probed, probed=True)
    return Reason(group, _courses(group, read.PREDICTIONS), probed=False)


def _courses(group: Group, name: str) -> list[tuple[Run, Course]]:
    """Of the runs that have this file, undamaged."""
    found = []
    for run in group.complete:
        with suppress(Damaged):
            found.append((run, read.course_of(run.folder, run.results, name)))
    return found


def without_predictions(section: Section, explained: Sequence[Reason]) -> list[str]:
    """The names of complete runs whose predictions are missing or damaged."""
    known = {run.folder for reason in explained for run, _ in reason.runs}
    return [run.name for g in section.measured for run in g.complete if run.folder not in known]


def sentences(section: Section, explained: Sequence[Reason]) -> list[str]:
    """One for each strategy, about its chosen or best setting."""
    by_label = {reason.group.label: reason for reason in explained}
    shown = []
    for groups in by_strategy(section).values():
        there = [group for group in groups if group.label in by_label]
        if there:
            shown.append(section.chosen(there) or section.best_first(there)[0])
    return [sentence(by_label[group.label]) for group in section.best_first(shown)]


def sentence(reason: Reason) -> str:
    """What its earlier tasks have lost, and where it went."""
    then, now, count = reason.then, reason.now, len(reason.courses[0].shares) - 1
    one = count == 1
    its, what = ("its", "task 1") if one else ("their", f"the {count} earlier tasks")
    label = f"{reason.group.label}: {what}"
    if reason.lost.loss < NOTHING_LOST:
        kept = f"{100 * then.right:.1f} % when just learned and {100 * now.right:.1f} % at the end"
        return f"{label} {'keeps' if one else 'keep'} what was learned, {kept}."
    fell = f"{label} fell from {percent(then.right)} to {percent(now.right)}"
    probe = now.right_by_probe
    if reason.courses[0].bias is None:
        if probe is None:
            return f"{fell}."
        refitted = f"a head refitted to the features tells {its} classes apart"
        return f"{fell}; {refitted} at {percent(probe)}."
    called = [
        f"{percent(share)} of {its} samples are called classes of {whose}"
        for whose, share in (
            (f"task {count + 1}", now.called_latest),
            ("other tasks", now.called_other),
        )
        if share >= 0.005
    ]
    return f"{'; '.join([f'{fell}{_apart(reason, its)}', *called])}."


def _apart(reason: Reason, its: str) -> str:
    """How well classes are told apart at the end; nothing where each task has a single one."""
    now, chance = reason.now, reason.chance
    if chance == 1:
        return ""
    probe = now.right_by_probe
    features = "" if probe is None else f" and {percent(probe)} (features)"
    shares = f"{percent(now.right_among_own)} (classifier){features}"
    best = max(now.right_among_own, probe or 0.0)
    if best < chance + TOLD_APART * (1 - chance):
        guessing = f"where guessing gives {percent(chance)}"
        return f": {its} classes are hardly told apart any more, at {shares}, {guessing}"
    return f": {its} classes are still told apart at {shares}"


def percent(share: float) -> str:
    """In whole percent; a share that is not 0 or 1 does not look so."""
    whole = f"{100 * share:.0f}"
    return f"{100 * share:.1f} %" if whole in ("0", "100") and share not in (0, 1) else f"{whole} %"


def limits(section: Section, explained: Sequence[Reason]) -> list[str]:
    """What cannot be said of these runs, and why."""
    if section.measure.has_fits:
        return ["In regression there are no classes, so an error has no parts of this kind."]
    if not explained:
        return []
    lines = []
    results = explained[0].runs[0][0].results
    if results.names_task:
        lines.append("The task is given at test time, so no class hides one of another task.")
    elif results.shares_classes:
        lines.append("All tasks have the same classes, so none hides one of another task.")
    if not all(reason.probed for reason in explained):
        lines.append(
            "Without a refitted head, features and head are one part; runs with diagnose=probe and "
            "dataset.validation_fraction=0.1 tell them apart."
        )
    if missing := without_predictions(section, explained):
        lines.append(f"Predictions are missing or damaged: {listed(missing)}.")
    return lines


def listed(names: Sequence[str]) -> str:
    """The names, at most four of them."""
    if len(names) > 4:
        return f"{'; '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(filter(None, ["; ".join(names[:-1]), names[-1]]))
