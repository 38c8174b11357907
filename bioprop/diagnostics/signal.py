"""The teaching signal against the gradient with respect to activities."""

from bioprop.diagnostics.probe import Found, Probe, angle, by_layer


def signal(probe: Probe) -> Found:
    """Angle of -delta_l to -dL/dh_l, per example, and the ratio of their norms over the batch.

    The view of the activity differences, in which all such rules approximate gradients (Lillicrap
    et al. 2020, Backpropagation and the brain).
    """
    if not probe.signals:
        return {}
    ours, bp = (
        by_layer({l: [delta] for l, delta in enumerate(deltas, start=1)})
        for deltas in (probe.signals, probe.gradients)
    )
    found = {}
    for place, deltas in ours.items():
        found |= probe.spread(f'signal_angle/{place}', angle(deltas, bp[place]))
        lengths = [probe.length(each) for each in (deltas, bp[place])]
        found[f'signal_ratio/{place}'] = lengths[0] / lengths[1]
    return found
