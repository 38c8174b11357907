"""The nets of Bartunov et al. 2018, table 3, by name: mnist_fc, cifar10_lc, ..."""

import functools
from typing import NamedTuple

from bioprop import networks
from bioprop.layers.base import Shape
from bioprop.networks import Network
from bioprop.settings import published

IN_SHAPES = {'mnist': (28, 28, 1), 'cifar10': (32, 32, 3)}  # table 3 itself gives ImageNet's


class Net(NamedTuple):
    """What `networks.feedforward` takes, and the data set whose options of rules are taken."""

    in_shape: Shape
    hidden: networks.Hidden
    outputs: int
    kind: str  # fc, lc or conv
    dataset: str

    @property
    def network(self) -> Network:
        """Tanh layers under a linear one."""
        return networks.feedforward(self.in_shape, self.hidden, self.outputs, net=self.kind)


@functools.cache
def paper_net(name: str) -> Net:
    """The net DATASET_NET; DATASET_conv is DATASET_lc with shared weights.

    Raises UserError for one that the paper does not have.
    """
    dataset, _, kind = name.rpartition('_')
    table = published.architecture(dataset, kind)
    in_shape = tuple(table.get('input') or IN_SHAPES[dataset])
    hidden = published.hidden_layers(dataset, kind)
    return Net(in_shape, hidden, table['classes'], kind, dataset)
