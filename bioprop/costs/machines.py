"""Hardware by name, and how long a step takes on it at the least.

Peaks, bandwidths and sizes are the vendors': docs.cloud.google.com/tpu/docs/v4 and v5e (a link is
the pod's all-reduce bandwidth by its chips), NVIDIA's data sheets of the H100 and H200 SXM (dense
rates, NVLink one way, and 400 Gb/s of network). Hyperthreads are those of Google Cloud's machine
types. A float32 product runs in JAX's default precision: bfloat16 on a TPU, TF32 on a GPU
(docs.jax.dev/en/latest/201/precision.html). The CPU core was measured: BUILD_NOTES.md says how.
"""

from typing import NamedTuple

from bioprop.errors import unknown

DECODED = 490.0  # ImageNet's images that one hyperthread decodes, crops and resizes in a second


class Machine(NamedTuple):
    """One device, with its share of its host."""

    title: str
    flops: dict[str, float]  # of products a second, by precision
    memory: float  # bytes
    bandwidth: float  # bytes a second
    link: float  # bytes a second that a device sends to the others of its group
    group: int  # devices that are linked
    network: float  # bytes a second that a device sends beyond its group
    threads: float  # of the host, for each device: they decode the images
    attainable: tuple[float, float]  # shares of arithmetic and bandwidth; guessed, except the CPU's
    backend: str = 'accelerator'  # on a 'cpu' patches stay in a cache, and nothing overlaps


GUESSED = (0.5, 0.8)
# fmt: off
MACHINES = {
    'tpu_v4': Machine(
        'TPU v4', {'float32': 275e12, 'bfloat16': 275e12}, 32 * 2**30, 1200e9,
        link=270e9, group=4096, network=3.125e9, threads=60, attainable=GUESSED),
    'tpu_v5e': Machine(
        'TPU v5e', {'float32': 197e12, 'bfloat16': 197e12}, 16 * 2**30, 819e9,
        link=200e9, group=256, network=3.125e9, threads=28, attainable=GUESSED),
    'h100': Machine(
        'H100 SXM', {'float32': 494.7e12, 'bfloat16': 989.4e12}, 80e9, 3.35e12,
        link=450e9, group=8, network=50e9, threads=26, attainable=GUESSED),
    'h200': Machine(
        'H200 SXM', {'float32': 494.7e12, 'bfloat16': 989.4e12}, 141e9, 4.8e12,
        link=450e9, group=8, network=50e9, threads=28, attainable=GUESSED),
    'cpu_core': Machine(
        'a core of an AMD EPYC (Zen 4)', {'float32': 108e9, 'bfloat16': 108e9}, 12e9, 16e9,
        link=8e9, group=64, network=1e9, threads=2, attainable=(0.6, 1.0), backend='cpu'),
}
# fmt: on


def machine(name: str) -> Machine:
    """The machine of that name. Raises UserError for an unknown one."""
    if name not in MACHINES:
        raise unknown('hardware', name, MACHINES)
    return MACHINES[name]


class Load(NamedTuple):
    """What a step asks of each device."""

    flops: int
    bytes: int  # to and from memory
    patches: int  # bytes of patches to and from memory, or a cache
    updates: int  # bytes that the devices average
    decoded: int  # images that the host decodes


def seconds(load: Load, on: Machine, devices: int, precision: str) -> dict[str, float]:
    """What a step needs of each resource by itself, and in 'step' what that makes in all.

    Arithmetic, memory and input overlap, so that the slowest of them bounds the step; a core of a
    CPU does one after another. The average of the updates, a ring over the devices, comes on top.
    Launches are not counted.
    """
    cpu = on.backend == 'cpu'
    arithmetic, bandwidth = on.attainable
    moved = load.bytes + (0 if cpu else load.patches)
    needs = {
        'arithmetic': load.flops / (on.flops[precision] * arithmetic),
        'memory': moved / (on.bandwidth * bandwidth),
        'input': load.decoded / (on.threads * DECODED),
    }
    link = on.link if devices <= on.group else min(on.link, on.network)
    collective = 2 * (devices - 1) / devices * load.updates / link
    together = sum(needs.values()) if cpu else max(needs.values())
    return needs | {'collective': collective, 'step': together + collective}


def bound(needs: dict[str, float]) -> str:
    """The resource that a step waits for longest, of those that `seconds` returns."""
    return max((name for name in needs if name != 'step'), key=needs.get)
