"""A data set looked at once, when it is loaded: can it be trained on, and which one is it?"""

import hashlib
from collections.abc import Iterable

import numpy as np

from bioprop.errors import UserError, say


def check_labels(place: str, labels: np.ndarray, classes: int) -> None:
    """Raises UserError if labels (n,) are not all in 0..classes-1."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise UserError(
            f'{place}: of {labels.size} labels {wrong.size} lie outside 0 to {classes - 1}, such '
            f'as {labels[wrong[0]]}. Labels count from 0: prepare the set again with such labels, '
            f'or with more than {classes} classes'
        )


def say_untrained(name: str, train: np.ndarray, others: dict[str, np.ndarray]) -> None:
    """Says which classes of the other parts' labels are never trained on."""
    missing = {part: np.setdiff1d(labels, train).tolist() for part, labels in others.items()}
    told = [f'{", ".join(map(str, found))} ({part})' for part, found in missing.items() if found]
    if told:
        say(
            f'{name}: scored, but not trained on, are the classes {" and ".join(told)}. The '
            'held-out images are the last of the training set: if it is sorted by class, prepare '
            'it again in a random order'
        )


def deviations(name: str, std: np.ndarray) -> np.ndarray:
    """What each channel is divided by: its deviation, and 1 where it never changes, which is said.

    Such a channel is then 0 everywhere.
    """
    constant = np.flatnonzero(std == 0)
    if constant.size:
        channels = ', '.join(map(str, constant))
        say(f'{name}: channel {channels} is the same in all training images, and tells nothing')
    return np.where(std == 0, 1, std)


def say_range(name: str, least: int, most: int) -> None:
    """Says that grey pixels, which are divided by 255, are all alike or are not on that scale."""
    if least == most:
        say(f'{name}: all pixels of the training images are {least}, and tell nothing')
    elif most <= 1:
        say(f'{name}: pixels are 0 or 1 in place of 0 to 255, so that inputs are 1/255 at most')


def fingerprint(contents: Iterable[bytes | np.ndarray | str]) -> str:
    """A digest of the contents in their order."""
    found = hashlib.sha256()
    for content in contents:
        if isinstance(content, np.ndarray):
            found.update(repr((content.dtype.str, content.shape)).encode())
            content = np.ascontiguousarray(content)
        found.update(content.encode() if isinstance(content, str) else content)
    return found.hexdigest()[:16]
