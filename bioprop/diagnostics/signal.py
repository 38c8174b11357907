"""The teaching signal against the gradient with respect to activities."""

from bioprop.diagnostics.comparison import by_layer, compare
from bioprop.diagnostics.probe import Found, Probe


def signal(probe: Probe) -> Found:
    """Angle of -delta_l to -dL/dh_l, per example, and the ratio of their norms over the batch.

    The view of the activity differences, in which all such rules approximate gradients (Lillicrap
    et al. 2020, Backpropagation and the brain).
    """
    if not probe.signals:
        return {}
    pairs = enumerate(zip(probe.signals, probe.gradients, strict=True), start=1)
    found = {}
    for place, each in by_layer({l: compare(*pair) for l, pair in pairs}).items():
        found |= probe.spread(f'signal_angle/{place}', each.angle)
        found[f'signal_ratio/{place}'] = probe.ratio(each)
    return found
