"""What a trained autoencoder makes of images: the run of a workdir with its checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np

from bioprop.data import sets
from bioprop.errors import UserError
from bioprop.records.checkpoint import Checkpoints
from bioprop.running.report import best_of, evaluations, measure_of
from bioprop.running.run import make_run
from bioprop.settings.keys import completed
from bioprop.training.learner import init_state
from experiments.analysis.results import Run


def one_of_each_class(run: Run) -> np.ndarray:
    """The places of the first test image of every class."""
    config = run.config
    data = sets.load(config['dataset'], config['validation_fraction'], config['data_dir'])
    return np.unique(data.test.label, return_index=True)[1]


def reconstructions(trained: Run, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test images (n, height, width) and what the best weights of the run make of them, in [0, 1].

    Raises UserError for a run that is not of an autoencoder, or has no checkpoint of its best.
    """
    if trained.config['loss'] != 'reconstruction':
        raise UserError(f'{trained.folder} is not of an autoencoder: its loss is no reconstruction')
    if not trained.summary:
        raise UserError(f'{trained.folder} is still in training: wait for its summary.json')
    run = make_run(completed(trained.config))
    loss = run.learner.loss
    records, measure = trained.records(), measure_of(loss)
    if not evaluations(records) or not (trained.folder / 'checkpoints').exists():
        raise UserError(
            f'{trained.folder} has no checkpoints: digits need a run of bioprop.main, since '
            'populations do not keep weights'
        )
    state = init_state(run.learner, jax.random.key(trained.config['seed']), run.hparams)
    checkpoints = Checkpoints(trained.folder / 'checkpoints', read_only=True)
    try:
        state = checkpoints.restore(best_of(records, measure)['step'], state)
    finally:
        checkpoints.close()
    images = run.parts['test'].at(jnp.asarray(places)).batch()['image']
    logits = run.learner.network.states(state.weights['forward'], images)[-1]
    shape = images.shape[:3]
    return np.asarray(images).reshape(shape), np.asarray(loss.output(logits)).reshape(shape)
