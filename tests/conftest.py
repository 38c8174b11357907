"""Eight virtual CPU devices, no silent broadcasting, and double precision where a test asks."""

import jax
import pytest

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')


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
