"""What figures of diagnostics show: which metrics stand together, and how they read."""

from typing import NamedTuple

LAYERS = 'layers'  # the place of a view over layers


class Scale(NamedTuple):
    """Of an axis."""

    logarithmic: bool = False
    reference: float | None = None  # where a line tells one side from the other
    every: float | None = None  # between ticks
    shared: bool = True  # with the axes beside it that show the like


class View(NamedTuple):
    """A metric over the layers at the end of training, or over epochs at one place."""

    metric: str
    place: str = ''


class Theme(NamedTuple):
    """A figure: rows of two views at most."""

    caption: str
    rows: tuple[tuple[View, ...], ...]

    @property
    def metrics(self) -> list[str]:
        """Each once, in order."""
        return list(dict.fromkeys(view.metric for row in self.rows for view in row))


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


THEMES = {
    'signal': Theme(
        'The teaching signal against the gradient with respect to activities: the angle between '
        'them, the mean over images (90° is no better than chance), and the ratio of their norms.',
        (_both('signal_angle'), _both('signal_ratio')),
    ),
    'update': Theme(
        'The update of the weights against the gradient of the loss: the angle of the update of a '
        'batch, the mean angle of what single images ask for, and the ratio of norms.',
        (
            _both('update_angle/kernel', 'update_angle'),
            _both('example_angle/kernel', 'example_angle'),
            _both('update_ratio/kernel', 'update_ratio'),
        ),
    ),
    'alignment': Theme(
        'What takes the place of the forward weights on the way down against those weights: the '
        'angle between them, and the ratio of their norms.',
        (_both('alignment_angle'), _both('alignment_ratio')),
    ),
    'reconstruction': Theme(
        'How well inverses invert: the squared distance of g(f(x)) to x, in squared lengths of x, '
        'at the states themselves (clean) and with the noise of training (noisy).',
        (_both('reconstruction/clean'), _both('reconstruction/noisy')),
    ),
    'diversity': Theme(
        'How much targets differ from one another: effective ranks of targets and states of the '
        'penultimate layer after the mean of each class is taken off, the share of their variance '
        'that lies within classes, and effective ranks of the displacements h - t.',
        (
            (View('target_rank'), View('state_rank')),
            (View('target_within'), View('state_within')),
            (View('displacement_rank', LAYERS),),
        ),
    ),
    'saturation': Theme(
        'The share of hidden units whose slope is below 0.1.',
        (_both('saturation'),),
    ),
    'jacobian': Theme(
        'The Jacobians of inverses against the transposed ones of their layers: angle and ratio of '
        'norms. Where they are equal, difference targets are those of backpropagation.',
        (_both('jacobian_angle'), _both('jacobian_ratio')),
    ),
    'descent': Theme(
        'The share of a loss that a step of a thousandth of the length of the weights removes: of '
        "a layer's own loss by its own step, and of the loss of the task by the steps of all.",
        ((View('descent_local', LAYERS), View('descent_global', 'total')),),
    ),
    'gauss_newton': Theme(
        'Angles to the damped Gauss-Newton method: of the update of the weights, and of the '
        'displacements h - t to those that exact inverses would give.',
        (_both('gauss_newton_angle'), (View('gauss_newton_target_angle', LAYERS),)),
    ),
}
