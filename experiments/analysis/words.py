"""Rows and panels in words, as the paper names them."""

from collections.abc import Iterable

from experiments.analysis.rows import Method, Panel, grouped

NAMES = {
    'bp': 'BP', 'fa': 'FA', 'dfa': 'DFA', 'dtp': 'DTP', 'sdtp': 'SDTP', 'ao_sdtp': 'AO-SDTP',
    'mnist': 'MNIST', 'cifar10': 'CIFAR-10',
    'fashion_mnist': 'Fashion-MNIST', 'fc': 'fully connected', 'lc': 'locally connected',
    'alternating_step': 'alternating by step',
}  # fmt: skip


def title(panel: Panel) -> str:
    """A panel in words."""
    words = [NAMES.get(panel.dataset, panel.dataset), NAMES.get(panel.net, panel.net)]
    return ', '.join([*words, 'autoencoder'] if panel.measure == 'loss' else words)


def label(method: Method, units: bool = False) -> str:
    """A row in words, as the paper names it; the schedule only where there is a choice."""
    name = NAMES.get(method.rule, method.rule.rpartition(':')[2])
    if method.net == 'conv':
        name += ' ConvNet'
    if method.schedule != 'parallel' or method.rule not in ('bp', 'fa', 'dfa'):
        name += f', {NAMES.get(method.schedule, method.schedule)}'
    return f'{name}, {method.units} units' if units and method.units is not None else name


def several_widths(methods: Iterable[Method]) -> bool:
    """Whether the rows of AO-SDTP must tell their widths."""
    widths = grouped((m for m in methods if m.units is not None), lambda method: method[:3])
    return any(len(group) > 1 for group in widths.values())
