"""What a trained autoencoder makes of images."""

from pathlib import Path

import numpy as np

from bioprop.data import sets
from bioprop.errors import UserError
from bioprop.records.frames import config_of
from bioprop.running.opened import open_run


def one_of_each_class(config: dict) -> np.ndarray:
    """The places of the first test image of every class."""
    data = sets.load(config['dataset'], config['validation_fraction'], config['data_dir'])
    return np.unique(data.test.label, return_index=True)[1]


def reconstructions(workdir: Path, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test images (n, height, width) and what the best weights of a run make of them, in [0, 1].

    Raises UserError for a run that is not of an autoencoder, or has no checkpoint of its best.
    """
    if config_of(workdir)['loss'] != 'reconstruction':
        raise UserError(f'{workdir} is not of an autoencoder: its loss is no reconstruction')
    opened = open_run(workdir)
    images = opened.data.test.image[places]
    made = opened.loss.output(opened.predict(images))
    shape = images.shape[:3]
    return np.asarray(opened.inputs(images)).reshape(shape), np.asarray(made).reshape(shape)
