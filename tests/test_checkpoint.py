"""Checkpoints: what is damage, and what is not."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from bioprop.errors import UserError
from bioprop.records.checkpoint import Checkpoints, Damaged, read_all


class State(NamedTuple):
    """As a run's state, in small."""

    w: jax.Array
    key: jax.Array
    fixed: Any


STATE = State(jnp.ones((3, 4)), jax.random.key(0), (jnp.zeros(2), None))
OTHERS = {
    'w: float32 (3, 4) -> float32 (3, 5)': STATE._replace(w=jnp.ones((3, 5))),
    'w: float32 (3, 4) -> bfloat16 (3, 4)': STATE._replace(w=jnp.ones((3, 4), jnp.bfloat16)),
    'key: uint32 (2,) -> uint32 (4,)': STATE._replace(key=jax.random.key(0, impl='rbg')),
    'fixed.1: nothing -> float32 (3,)': STATE._replace(fixed=(jnp.zeros(2), jnp.ones(3))),
    'fixed.0: float32 (2,) -> nothing': STATE._replace(fixed=()),
}


@contextlib.contextmanager
def opened(folder):
    checkpoints = Checkpoints(folder)
    try:
        yield checkpoints
    finally:
        checkpoints.close()


@pytest.fixture
def saved():
    """A folder with checkpoints 1 and 2, which every user may reach."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with opened(Path(folder) / 'checkpoints') as checkpoints:
            checkpoints.save(1, STATE)
            checkpoints.save(2, STATE)
            checkpoints.wait()
        yield Path(folder) / 'checkpoints'


def files(folder):
    return {path: path.stat().st_size for path in folder.parent.rglob('*') if path.is_file()}


@pytest.mark.parametrize('difference', OTHERS)
def test_another_state_is_no_damage(saved, difference):
    before = files(saved)
    with opened(saved) as checkpoints, pytest.raises(UserError) as refusal:
        checkpoints.restore_latest(OTHERS[difference])
    assert difference in str(refusal.value)
    assert not isinstance(refusal.value, Damaged)
    assert files(saved) == before


@pytest.mark.skipif(os.geteuid() != 0, reason='needs the right to become another user')
@pytest.mark.parametrize('hidden', ['2/default/d', '2/default/_METADATA', '2'])
def test_what_may_not_be_read_is_no_damage(saved, hidden):
    """Not even for the one before: the newest may be all right."""
    os.chmod(saved / hidden, 0)
    before = files(saved)
    with opened(saved) as checkpoints:
        os.seteuid(65534)
        try:
            with pytest.raises(PermissionError) as refusal:
                checkpoints.restore_latest(STATE)
        finally:
            os.seteuid(0)
    assert str(saved / hidden) in refusal.value.filename
    assert files(saved) == before


def test_no_memory_is_no_damage(saved, monkeypatch):
    def restore(*_, **__):
        raise RuntimeError('RESOURCE_EXHAUSTED: out of memory while trying to allocate')

    with opened(saved) as checkpoints:
        monkeypatch.setattr(checkpoints._manager, 'restore', restore)
        with pytest.raises(UserError, match='no memory') as refusal:
            checkpoints.restore_latest(STATE)
    assert not isinstance(refusal.value, Damaged)


def damage(folder):
    for path in folder.rglob('manifest.ocdbt'):
        os.truncate(path, 20)


def lose(folder):
    shutil.rmtree(folder / 'default' / 'd')


def scribble(folder):
    (folder / 'default' / '_METADATA').write_text('{')


@pytest.mark.parametrize('harm', [damage, lose, scribble])
def test_damage_is_passed_over_for_the_one_before_and_said(saved, harm, capsys):
    harm(saved / '2')
    with opened(saved) as checkpoints:
        step, state = checkpoints.restore_latest(STATE)
        assert step == 1
        assert state.w.tolist() == STATE.w.tolist()
        assert checkpoints.steps == [1]
    assert 'checkpoint 2 is damaged' in capsys.readouterr().err
    assert (saved.parent / 'damaged-checkpoint-2').is_dir()
    harm(saved / '1')
    with opened(saved) as checkpoints, pytest.raises(Damaged, match='Delete that folder'):
        checkpoints.restore_latest(STATE)


def test_readers_compare_too(saved):
    with pytest.raises(UserError, match='other arrays'):
        list(read_all(saved, STATE._replace(w=jnp.ones(2))))
    assert [step for step, _ in read_all(saved, STATE)] == [1, 2]
