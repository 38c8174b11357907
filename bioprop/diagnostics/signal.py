"""The teaching signal against the gradient with respect to activities."""

from bioprop.diagnostics.comparison import by_layer, compare
from bioprop.diagnostics.probe import Found, Probe, named


def signal(probe: Probe) -> Found:
    """Angle of -delta_l to -dL/dh_l, per example, and the ratio of their norms over the batch.

    The view of the activity differences, in which all such rules approximate gradients (Lillicrap
    et al. 2020, Backpropagation and the brain).
    """
    if not probe.signals:
        return {}
    pairs = enumerate(zip(probe.signals, probe.gradients, strict=True), start=1)
    places, found = by_layer({l: compare(*pair) for l, pair in pairs})
    ratios = named('signal_ratio', places, probe.ratio(found))
    return probe.spread('signal_angle', places, found.angle) | ratios
