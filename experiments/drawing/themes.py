"""What figures of diagnostics show: which metrics stand together, and how they read."""

from typing import NamedTuple

from experiments.drawing.panes import Scale

LAYERS = 'layers'  # the place of a view over layers


class View(NamedTuple):
    """A metric over the layers at the end of training, or over epochs at one place."""

    metric: str
    place: str = ''


Theme = tuple[tuple[View, ...], ...]  # a figure: rows of two views at most


def metrics_of(theme: Theme) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(view.metric for row in theme for view in row))


ANGLE, RATIO = Scale(reference=90, every=30), Scale(logarithmic=True, reference=1)
ERROR, SHARE, GAIN = Scale(logarithmic=True), Scale(), Scale(reference=0, shared=False)
RANK = Scale(logarithmic=True)

# By metric: what an axis says, and its scale.
METRICS = {
    'signal_angle': ('signal angle (°)', ANGLE),
    'signal_ratio': ('signal norm ratio', RATIO),
    'update_angle': ('update angle (°)', ANGLE),
    'update_angle/kernel': ('kernel update angle (°)', ANGLE),
    'update_ratio': ('update norm ratio', RATIO),
    'update_ratio/kernel': ('kernel update norm ratio', RATIO),
    'example_angle': ('example angle (°)', ANGLE),
    'example_angle/kernel': ('kernel example angle (°)', ANGLE),
    'alignment_angle': ('feedback angle to W (°)', ANGLE),
    'alignment_ratio': ('feedback norm / W norm', RATIO),
    'reconstruction/clean': ('reconstruction, clean', ERROR),
    'reconstruction/noisy': ('reconstruction, noisy', ERROR),
    'displacement_rank': ('rank of h - t', RANK),
    'target_rank': ('rank of targets', RANK),
    'state_rank': ('rank of states', RANK),
    'target_within': ('targets, within classes', SHARE),
    'state_within': ('states, within classes', SHARE),
    'saturation': ('saturated units', SHARE),
    'residual/free': ('change by a sweep, free', ERROR),
    'residual/taught': ('change by a sweep, taught', ERROR),
    'spike_rate': ('spikes a second', Scale(reference=0)),
    'jacobian_angle': ('Jacobian angle (°)', ANGLE),
    'jacobian_ratio': ('Jacobian norm ratio', RATIO),
    'descent_local': ('local loss removed', GAIN),
    'descent_global': ('task loss removed', GAIN),
    'gauss_newton_angle': ('Gauss-Newton angle (°)', ANGLE),
    'gauss_newton_target_angle': ('target G-N angle (°)', ANGLE),
}


def _both(metric: str, whole: str = '') -> tuple[View, View]:
    """Over the layers, and in total over epochs."""
    return View(metric, LAYERS), View(whole or metric, 'total')


THEMES: dict[str, Theme] = {
    'signal': (_both('signal_angle'), _both('signal_ratio')),
    'update': (
        _both('update_angle/kernel', 'update_angle'),
        _both('example_angle/kernel', 'example_angle'),
        _both('update_ratio/kernel', 'update_ratio'),
    ),
    'alignment': (_both('alignment_angle'), _both('alignment_ratio')),
    'reconstruction': (_both('reconstruction/clean'), _both('reconstruction/noisy')),
    'diversity': (
        (View('target_rank'), View('state_rank')),
        (View('target_within'), View('state_within')),
        (View('displacement_rank', LAYERS),),
    ),
    'saturation': (_both('saturation'),),
    'residual': ((View('residual/free'), View('residual/taught')),),
    'firing': (_both('spike_rate'),),
    'jacobian': (_both('jacobian_angle'), _both('jacobian_ratio')),
    'descent': ((View('descent_local', LAYERS), View('descent_global', 'total')),),
    'gauss_newton': (_both('gauss_newton_angle'), (View('gauss_newton_target_angle', LAYERS),)),
}
