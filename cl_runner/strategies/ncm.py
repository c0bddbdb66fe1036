"""NCM: a sample belongs to the class with the nearest mean of features."""

from torch import Tensor

from cl_runner.data.stream import Task
from cl_runner.models.network import Network
from cl_runner.strategies.closed_form import ClosedForm
from cl_runner.strategies.parts.class_means import ClassMeans


class NCM(ClosedForm):
    """s_c(x) = μ_c · φ(x) − ½ ‖μ_c‖²,   μ_c = mean of φ over the samples of class c

    Mensink et al. 2013, eq. 1, with the Euclidean distance: s_c is largest where ‖φ(x) − μ_c‖ is
    smallest. φ are the network's features, as they are: not of length one.

    Nothing is trained: each sample is seen once, when its task ends, and epochs, steps and the
    optimizer play no part. That needs good features from the start: it is meant for a frozen body
    that was trained before (`model=torchvision model.frozen=true`). Otherwise the body is the run's
    own, untrained.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network, "NCM", network.classifier.features)
        self.statistics = ClassMeans(network.classes, network.classifier.features)

    def learn(self, task: Task) -> None:
        for phi, y in self.chunks(task.train):
            self.statistics.add(phi, y)

    def solution(self) -> tuple[Tensor, Tensor]:
        mu = self.statistics.means
        return mu, -mu.square().sum(1) / 2
