"""Training crops from JPEGs: the stream against the same decoding and cropping in bare threads.

`threads` has the encoded images in memory and hands them to as many threads as there are cores, no
grain, with whole batches stacked; `threads, files` reads them as the stream does, which takes some
100 us of an image (riegeli's checksum and decompression, on cold caches).
"""

import concurrent.futures
import functools
import itertools
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags

from bioprop.data import crops
from bioprop.data.records import read
from bioprop.data.stream import RUN, Stream, open_stream
from bioprop.records.provenance import cores
from experiments.benchmarks import photographs, timing

IMAGENET_DIR = flags.DEFINE_string(
    'imagenet_dir',
    None,
    'input: folder of a prepared imagenet2012. Default: synthetic photographs of 256 x 256.',
)
SIZE, IMAGES = 224, 1024
BATCHES = 6  # in one call


def default_batch() -> int:
    """Examples a batch."""
    return 256


def in_threads(fetch: Callable[[int], bytes], order: np.ndarray, batch_size: int) -> None:
    """Fetches, decodes, crops, mirrors and stacks BATCHES batches in bare threads."""

    def run(first: int) -> list[np.ndarray]:
        last = min(first + RUN, -(-(first + 1) // batch_size) * batch_size)
        return [
            crops.training_crop(fetch(int(order[place])), np.random.default_rng((0, place)), SIZE)
            for place in range(first, last)
        ]

    firsts = [range(k * batch_size, (k + 1) * batch_size, RUN) for k in range(BATCHES)]
    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        done = pool.map(run, itertools.chain(*firsts))
        for runs in firsts:
            np.stack([image for _ in runs for image in next(done)])


def in_stream(stream: Stream, batch_size: int) -> None:
    """Takes BATCHES batches; what has been read ahead by then is paid for, too."""
    others = set(threading.enumerate())
    batches = stream.training(0, batch_size)
    for _ in range(BATCHES):
        next(batches)
    batches.close()
    for thread in set(threading.enumerate()) - others:
        if thread.name.startswith('grain-prefetch'):
            thread.join()


def rows(batch_size: int, seconds: float) -> list[dict]:
    """One row a contestant: images per second, and ratios to bare threads."""
    with tempfile.TemporaryDirectory() as folder:
        name, data_dir = 'imagenet2012', IMAGENET_DIR.value
        if data_dir is None:
            name, data_dir = photographs.NAME, folder
            photographs.write(Path(folder), max(IMAGES, 2 * batch_size), 256)
        stream = open_stream(name, data_dir, SIZE, 0.01).train
        images = [read(stream.records, number)[0] for number in range(min(IMAGES, len(stream)))]
        order = np.random.default_rng(0).integers(0, len(images), BATCHES * batch_size)
        contestants = {
            'threads': functools.partial(in_threads, images.__getitem__, order, batch_size),
            'threads, files': functools.partial(
                in_threads, lambda number: read(stream.records, number)[0], order, batch_size
            ),
            'stream': functools.partial(in_stream, stream, batch_size),
        }
        least = timing.interleave(contestants, seconds)
    return [
        {
            'contestant': contestant,
            'images_per_second': 1e3 * BATCHES * batch_size / took,
            'ratio_to_threads': least['threads'] / took,
            'ratio_to_threads_on_files': least['threads, files'] / took,
        }
        for contestant, took in least.items()
    ]
