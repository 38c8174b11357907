"""Image sets too large for memory, as a stream of batches: ImageNet.

A batch is a function of the seed and its number: which examples it has, in which order, and how
each is cropped. How many processes and threads decode it changes nothing, and a stream goes on from
any step with the batches that it would have given.

grain runs the threads and reads ahead. What it is given at a time is a run of a batch, decoded into
its place in that batch: no cost of an element, no stacking.
"""

import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from absl import logging

from bioprop.data import crops, inspection, sets, tfds_arrays
from bioprop.data.records import Records, again, read, tested_split
from bioprop.errors import UserError
from bioprop.records.provenance import cores

RUN = 16  # examples decoded at a time
ORDER, CROP = range(2)  # what a seed is used for
HANDFUL = 5  # damaged images that are never too many
DAMAGED_SHARE = 0.001
# Of ImageNet's training images, which networks on it are standardised by.
MEAN = 255 * np.array((0.485, 0.456, 0.406), np.float32)
STD = 255 * np.array((0.229, 0.224, 0.225), np.float32)


class Batch(NamedTuple):
    """Examples of one minibatch; those that are not valid are black, of class 0."""

    image: np.ndarray  # (n, size, size, 3), uint8, RGB
    label: np.ndarray  # (n,), int32
    valid: np.ndarray  # (n,), bool


class Damage(NamedTuple):
    """An image that cannot be decoded."""

    number: int  # of its record
    reason: str
    file_name: str  # of the original file, where the set has it


class Stream:
    """The examples of one part of a set: records `start` to `stop` - 1 of a split.

    A damaged image is logged once, and replaced in training by the next one of the order; in
    evaluation it is not valid. The iterators raise UserError when more than HANDFUL images, and
    more than `damaged_share` of those that this process has seen, are damaged, if a file of records
    is, and for a label that is none of the classes.
    """

    def __init__(
        self,
        records: Records,
        start: int,
        stop: int,
        size: int,
        damaged_share: float,
        classes: int,
        augment: bool = True,
    ):
        self.records, self.start, self.stop, self.size = records, start, stop, size
        self.damaged_share, self.classes, self.augment = damaged_share, classes, augment
        self.seen = 0
        self.damaged: dict[int, Damage] = {}  # by number of the record

    def __len__(self):
        return self.stop - self.start

    @property
    def examples(self) -> int:
        """How many there are."""
        return len(self)

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """Of one image."""
        return self.size, self.size, 3

    def training(
        self,
        seed: int,
        batch_size: int,
        first: int = 0,
        share: tuple[int, int] = (0, 1),
        prefetch: int = 2,
    ) -> Iterator[Batch]:
        """Batches first, first + 1, ... without end, of crops that are drawn anew each time.

        Without `augment` they are the central ones of evaluation.

        Batch k is minibatch k % steps of pass k // steps, steps = len // batch_size; each pass has
        an order of its own, whose remainder is dropped. share = (process, processes) gives this
        process's contiguous part of every batch. `prefetch` batches are decoded ahead.
        """
        rows = _rows(batch_size, share)
        steps = len(self) // batch_size
        if not steps:
            raise UserError(f'a batch of {batch_size} exceeds the {len(self)} training images')

        @functools.lru_cache(maxsize=2)  # reading ahead crosses from one pass to the next
        def order(number: int) -> np.ndarray:
            return np.random.default_rng((ORDER, seed, number)).permutation(len(self))

        def example(k: int, row: int, image: np.ndarray) -> tuple[int, bool, list[Damage]]:
            number, minibatch = divmod(k, steps)
            place = minibatch * batch_size + share[0] * rows + row
            damaged = []
            for _ in range(HANDFUL + 1):
                index = int(order(number)[(place + len(damaged)) % len(self)])
                generator = np.random.default_rng((CROP, seed, number, place))
                random_crop = functools.partial(crops.training_crop, generator=generator)
                crop = random_crop if self.augment else crops.evaluation_crop
                crop = functools.partial(crop, size=self.size, out=image)
                label, damage = self._example(index, crop)
                if damage is None:
                    return label, True, damaged
                damaged.append(damage)
            raise self._too_many(damaged, len(damaged))

        return self._batches(
            range(first, sys.maxsize // (batch_size + RUN)), rows, example, prefetch
        )

    def once(
        self, batch_size: int, share: tuple[int, int] = (0, 1), prefetch: int = 2
    ) -> Iterator[Batch]:
        """Every example once, in order, as central crops; the last batch is filled up.

        share = (process, processes) gives this process's contiguous part of every batch.
        """
        rows = _rows(batch_size, share)

        def example(k: int, row: int, image: np.ndarray) -> tuple[int, bool, list[Damage]]:
            index = k * batch_size + share[0] * rows + row
            if index < len(self):
                crop = functools.partial(crops.evaluation_crop, size=self.size, out=image)
                label, damage = self._example(index, crop)
                if damage is None:
                    return label, True, []
            image[:] = 0
            return 0, False, [damage] if index < len(self) else []

        return self._batches(range(-(-len(self) // batch_size)), rows, example, prefetch)

    def _example(self, index: int, crop: Callable) -> tuple[int, Damage | None]:
        """The label of an example of this part, once its image is cropped; or what is wrong."""
        number = self.start + index
        image, label, file_name = read(self.records, number)
        if not 0 <= label < self.classes:
            inspection.check_labels(self._where(number, file_name), np.array([label]), self.classes)
        try:
            crop(image)
        except crops.Undecodable as error:
            return label, Damage(number, str(error), file_name)
        return label, None

    def _batches(
        self, numbers: range, rows: int, example: Callable, prefetch: int
    ) -> Iterator[Batch]:
        """Batches of those numbers, of `rows` examples each."""
        grain = _grain()
        runs = -(-rows // RUN)
        unfinished, free = {}, []

        def decode(element: int) -> list[Damage]:
            k, run = divmod(element, runs)
            if k not in unfinished:
                unfinished.setdefault(k, _empty(rows, self.size, free))  # atomic
            batch = unfinished[k]
            damaged = []
            for row in range(run * RUN, min((run + 1) * RUN, rows)):
                batch.label[row], batch.valid[row], found = example(k, row, batch.image[row])
                damaged += found
            return damaged

        threads = 2 * cores()  # one may wait for a file while another decodes
        ahead = max(prefetch * runs, threads)
        elements = grain.MapDataset.range(numbers.start * runs, numbers.stop * runs).map(decode)
        return self._finished(
            elements.to_iter_dataset(grain.ReadOptions(threads, ahead)), numbers, runs, unfinished
        )

    def _finished(self, dataset, numbers: range, runs: int, unfinished: dict) -> Iterator[Batch]:
        iterator = iter(dataset)
        try:
            for k in numbers:
                damaged = [damage for _ in range(runs) for damage in next(iterator)]
                batch = unfinished.pop(k)
                self._count(len(batch.label), damaged)
                yield batch
        finally:
            iterator.close()

    def _count(self, seen: int, damaged: list[Damage]) -> None:
        """Logs damaged images that are new. Raises UserError if they are too many by now."""
        self.seen = min(self.seen + seen, len(self))
        for damage in damaged:
            if damage.number not in self.damaged:
                self.damaged[damage.number] = damage
                logging.warning('%s is damaged and left out: %s', *self._describe(damage))
        if len(self.damaged) > max(HANDFUL, self.damaged_share * self.seen):
            raise self._too_many(list(self.damaged.values()), self.seen)

    def _describe(self, damage: Damage) -> tuple[str, str]:
        return self._where(damage.number, damage.file_name), damage.reason

    def _where(self, number: int, file_name: str) -> str:
        file, place = self.records.place(number)
        name = f' ({file_name})' if file_name else ''
        where = f'the image{name} in record {place} of {self.records.paths[file]}'
        return f'{self.records.made.name}: {where}'

    def _too_many(self, damaged: list[Damage], seen: int) -> UserError:
        where, reason = self._describe(damaged[-1])
        return UserError(
            f'{len(damaged)} of {seen} images are damaged, more than {self.damaged_share:.1%}; '
            f'the last is {where}: {reason}.\n{again(self.records.made)}'
        )


def open_stream(
    name: str,
    data_dir: str | None,
    size: int,
    validation_fraction: float,
    augment: bool = True,
    damaged_share: float = DAMAGED_SHARE,
) -> sets.Dataset[Stream]:
    """Any prepared TFDS set of encoded images with class labels, as crops of size x size.

    The last part of split 'train' is held out for validation; the test part is split 'validation'
    where 'test' is missing or has no labels (imagenet2012). Raises UserError if the set cannot be
    had, or a file of it is missing.
    """
    if name == 'mnist_mini':
        raise UserError("'mnist_mini' is held in memory: it takes no image_size")
    _grain()
    made = tfds_arrays.builder(name, data_dir)
    classes = tfds_arrays.check(made, ('train',))
    train = Records(made, 'train')
    kept = sets.kept(name, len(train), validation_fraction)
    test = Records(made, tested_split(made))
    found = _fingerprint(train, test)
    return sets.Dataset(
        Stream(train, 0, kept, size, damaged_share, classes, augment),
        Stream(train, kept, len(train), size, damaged_share, classes),
        Stream(test, 0, len(test), size, damaged_share, classes),
        classes,
        MEAN,
        STD,
        {'name': name, 'version': str(made.version), 'fingerprint': found},
    )


def _fingerprint(*splits: Records) -> str:
    """Of the files' sizes and counts, and of the first and last record of each split."""
    files = (
        f'{path.name} {count} {path.stat().length}'
        for records in splits
        for path, count in zip(records.paths, records.counts, strict=True)
    )
    ends = (records[number] for records in splits for number in (0, len(records) - 1))
    return inspection.fingerprint((*files, *ends))


def _rows(batch_size: int, share: tuple[int, int]) -> int:
    _, processes = share
    if batch_size % processes:
        raise UserError(f'a batch of {batch_size} must be a multiple of {processes} processes')
    return batch_size // processes


def _empty(rows: int, size: int, free: list[memoryview]) -> Batch:
    """A batch to be filled, in memory that is free, if any: fresh pages are slow.

    The memory is free again when nothing holds the images any more, nor a view of them: that of a
    view is the array made here, since its own is no array.
    """
    try:
        memory = free.pop()
    except IndexError:
        memory = memoryview(np.empty((rows, size, size, 3), np.uint8))
    image = np.asarray(memory)
    weakref.finalize(image, free.append, memory)
    return Batch(image, np.empty(rows, np.int32), np.empty(rows, bool))


def _grain():
    """The package that runs the threads. Raises UserError where it is missing."""
    try:
        import grain
    except ImportError as error:
        raise UserError("streaming a data set needs grain: pip install -e '.[imagenet]'") from error
    return grain
