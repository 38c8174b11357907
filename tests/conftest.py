"""Eight virtual CPU devices, no silent broadcasting, and double precision where a test asks.

What one process of a test run has compiled, the others read: workers, and the programs that tests
start. Their cache is a folder of that run alone, unless JAX_COMPILATION_CACHE_DIR names one.
"""

import gc
import os
import shutil
import tempfile
from pathlib import Path

# Half to a quarter of the time that JAX 0.10 takes to compile; 0.12 has no such emitters.
os.environ.setdefault(
    'XLA_FLAGS',
    '--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters '
    '--xla_cpu_parallel_codegen_split_count=1',
)
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:  # before JAX reads it; workers inherit it
    os.environ |= {
        'JAX_COMPILATION_CACHE_DIR': tempfile.mkdtemp(prefix='bioprop-tests-'),
        'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.005',
        'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
    }

import jax
import pytest
from hypothesis import HealthCheck, Phase, settings

# The same few cases each time, so that a crash is found again by its test's name alone.
# --hypothesis-profile=thorough draws others, and many; unshrunk looks for no simpler ones.
SWEEP = {
    'deadline': None,
    'suppress_health_check': [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
SAME = {'max_examples': 8, 'derandomize': True, 'database': None}
settings.register_profile('usual', **SAME, **SWEEP)
settings.register_profile('unshrunk', **SAME, **SWEEP, phases=(Phase.explicit, Phase.generate))
settings.register_profile('thorough', max_examples=100, **SWEEP)
settings.load_profile('usual')

gc.set_threshold(100_000, 50, 100)  # tracing makes millions of objects, and hardly any garbage
jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')


def pytest_unconfigure(config):
    """The first process ends last, and takes the cache of this run with it."""
    cache = Path(os.environ['JAX_COMPILATION_CACHE_DIR'])
    if 'PYTEST_XDIST_WORKER' not in os.environ and cache.name.startswith('bioprop-tests-'):
        shutil.rmtree(cache, ignore_errors=True)


@pytest.fixture(autouse=True, scope='module')
def programs():
    """A file's programs are dropped after it: too many use up the memory maps of a process."""
    yield
    jax.clear_caches()


@pytest.fixture
def x64():
    """Double precision for one test."""
    jax.config.update('jax_enable_x64', True)
    yield
    jax.config.update('jax_enable_x64', False)


@pytest.fixture
def strict():
    """No implicit promotion between types for one test."""
    with jax.numpy_dtype_promotion('strict'):
        yield


@pytest.fixture
def quick():
    """Compiles fast and runs slowly: for identities on tiny nets."""
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)
