"""Processes that join: what cannot be right is said at once, and nobody is waited for for ever."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import pytest

from bioprop.errors import UserError
from bioprop.running import team

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ('given', 'expected'),
    [('node0:1', ('node0', 1)), ('10.0.0.1:65535', ('10.0.0.1', 65535)), ('[::1]:8', ('::1', 8))],
)
def test_an_address_is_a_host_and_a_port(given, expected):
    assert team.address(given) == expected


@pytest.mark.parametrize(
    'given',
    ['', ':', 'node0', 'node0:', ':45991', 'node0:0', 'node0:65536', 'node0:-1', 'node0:http',
     'node0:1.5', 'http://node0:80', '::1:80', '[]:80', 'no de:80', 'node0:٤٥'],
)  # fmt: skip
def test_what_is_no_address_is_said_at_once(given):
    with pytest.raises(UserError, match='must be HOST:PORT with a port from 1 to 65535'):
        team.join(given, 2, 0, 1)


@pytest.mark.parametrize(
    ('given', 'lacking'),
    [
        (('h:1', None, None), ['--processes=', '--process=']),
        ((None, 2, None), ['--coordinator=', '--process=']),
        ((None, None, 0), ['--coordinator=', '--processes=']),
        (('h:1', 2, None), ['--process=']),
        (('h:1', None, 0), ['--processes=']),
        ((None, 2, 0), ['--coordinator=']),
    ],
)
def test_the_flags_go_together(given, lacking):
    with pytest.raises(UserError) as error:
        team.join(*given, 1)
    named = [
        flag for flag in ('--coordinator=', '--processes=', '--process=') if flag in str(error)
    ]
    assert named == lacking


@pytest.mark.parametrize('process', [2, 3])
def test_a_process_is_one_of_the_processes(process):
    with pytest.raises(UserError, match='0 to 1'):
        team.join('localhost:45991', 2, process, 1)


@pytest.mark.parametrize('host', ['nowhere.invalid', 'a..b', 'x' * 64])
@pytest.mark.parametrize('process', [0, 1])
def test_a_host_without_an_address_is_said_at_once(host, process):
    with pytest.raises(UserError, match='knows no address'):
        team.join(f'{host}:45991', 2, process, 1)


@pytest.fixture
def taken():
    """A port that somebody listens on."""
    with socket.create_server(('', 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free():
    """A port that nobody listens on."""
    with socket.create_server(('', 0)) as server:
        return server.getsockname()[1]


def test_process_0_needs_a_free_port(taken, free):
    with pytest.raises(UserError, match=f'cannot listen on port {taken}'):
        team.join(f'localhost:{taken}', 2, 0, 1)
    team.check_free(free)
    team.check_free(free)  # and leaves it free


@pytest.fixture
def initialize(monkeypatch):
    """Stands for jaxlib's: waits until the test is over; its calls."""
    calls, over = [], threading.Event()

    def wait(*arguments, **options):
        calls.append((*arguments, options['initialization_timeout']))
        over.wait(30)

    monkeypatch.setattr(jax.distributed, 'initialize', wait)
    yield calls
    over.set()


def test_one_waits_no_longer_than_asked_and_hears_who_is_missing(initialize, taken, free, capsys):
    for port, reason in ((free, 'Nobody answers'), (taken, 'not all came')):
        began = time.monotonic()
        with pytest.raises(UserError, match=reason) as error:
            team.join(f'localhost:{port}', 2, 1, 1)
        assert 1 <= time.monotonic() - began < 10
        assert f'localhost:{port}' in str(error)
        assert f'localhost:{port}' in capsys.readouterr().err  # said before
    assert all(limit > 1 for *_, limit in initialize)  # jaxlib's own limit aborts


def test_what_jax_refuses_is_said(monkeypatch):
    def refuse(*_, **__):
        raise ValueError('no cluster')

    monkeypatch.setattr(jax.distributed, 'initialize', refuse)
    with pytest.raises(UserError, match=r'no cluster.*--coordinator=HOST:PORT'):
        team.join(None, None, None, 1)


@pytest.mark.parametrize('process', [0, 1])
def test_nobody_there_ends_in_one_message(process, free, tmp_path):
    command = [
        sys.executable, '-m', 'bioprop.main', '--config=configs/mnist_bp.py:dataset=mnist_mini',
        f'--workdir={tmp_path / "run"}', '--distributed', f'--coordinator=localhost:{free}',
        '--processes=2', f'--process={process}', '--wait_seconds=1',
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {'JAX_PLATFORMS': 'cpu'},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    first, end = done.stderr.strip().split('\n\n')
    assert 'all 2' in first
    assert '1 s at most' in first
    assert '\n' not in end
    assert end.startswith('bioprop: --distributed: waited 1 s in vain')
    assert not (tmp_path / 'run').exists()
