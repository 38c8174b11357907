"""The processes of one run find each other, or say in one message who is missing."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor

import jax

from bioprop.errors import UserError, say

GRACE = 60  # seconds after our own limit; at its limit jaxlib aborts the process
FLAGS = ('--coordinator=HOST:PORT', '--processes=COUNT', '--process=NUMBER')


def join(
    coordinator: str | None, processes: int | None, process: int | None, wait_seconds: int
) -> None:
    """Joins the other processes of a run; three times None stands for what the cluster tells.

    Raises UserError at once for what cannot be right, and after wait_seconds without the others.
    """
    check_flags(coordinator, processes, process)
    whom = 'the processes that the cluster names'
    if coordinator is not None:
        whom = f'all {processes} process(es) to meet at {coordinator}'
        host, port = address(coordinator)
        check_host(host)
        if process == 0:
            check_free(port)
    say(f'waiting for {whom}, {wait_seconds} s at most (--wait_seconds)')
    try:
        # In a thread, for it hears neither Ctrl-C nor a limit of ours.
        ThreadPoolExecutor(1).submit(
            jax.distributed.initialize,
            coordinator, processes, process, initialization_timeout=wait_seconds + GRACE,
        ).result(wait_seconds)  # fmt: skip
    except TimeoutError:
        raise UserError(
            f'--distributed: waited {wait_seconds} s in vain for {whom}. '
            + (missing(coordinator) if coordinator else 'Start them all.')
        ) from None
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f'--distributed: the other processes cannot be joined ({error}). Outside a cluster '
            f'that JAX knows give {" ".join(FLAGS)}.'
        ) from error


def check_flags(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Raises UserError unless all of them are given or none, and the process is one of them."""
    given = (coordinator, processes, process)
    lacking = [flag for flag, value in zip(FLAGS, given, strict=True) if value is None]
    if 0 < len(lacking) < len(FLAGS):
        raise UserError(f'--distributed: {" ".join(lacking)} must be given, too')
    if not lacking and process >= processes:
        raise UserError(
            f'--process={process}: {processes} processes have the numbers 0 to {processes - 1}'
        )


def address(coordinator: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT or [IPv6]:PORT. Raises UserError if it is neither."""
    host, _, port = coordinator.rpartition(':')
    literal = host.startswith('[') and host.endswith(']')
    name = host[1:-1] if literal else host
    whole = name and (literal or not set(name) & set(':/[] '))
    if not (whole and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise UserError(
            f'--coordinator={coordinator!r} must be HOST:PORT with a port from 1 to 65535, '
            'such as node0:45991'
        )
    return name, int(port)


def check_host(host: str) -> None:
    """Raises UserError if this machine knows no address of the host."""
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        raise UserError(
            f'--coordinator: this machine knows no address of {host!r} '
            f'({getattr(error, "strerror", None) or error}). Give the name or the address of the '
            'machine of process 0.'
        ) from None


def check_free(port: int) -> None:
    """Raises UserError if process 0 could not listen there; jaxlib would crash."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        socket.create_server(('', port), family=family, dualstack_ipv6=dual).close()
    except OSError as error:
        raise UserError(
            f'--coordinator: process 0 cannot listen on port {port} ({os.strerror(error.errno)}). '
            'Another run may use it: choose another one, the same for all processes.'
        ) from None


def missing(coordinator: str) -> str:
    """What is wrong when the time is over, as far as it can be told: whether anybody listens."""
    try:
        socket.create_connection(address(coordinator), timeout=5).close()
    except OSError:
        return 'Nobody answers there: start process 0 on that machine, and let its port through.'
    return 'It answers, but not all came: start the command once for each --process, from 0 on.'
