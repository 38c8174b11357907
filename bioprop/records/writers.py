"""Where a run reports: JSON lines, TensorBoard, Weights & Biases, the console."""

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from bioprop.records.weights_and_biases import Tracker

Record = dict[str, Any]


def write_whole(path: Path, text: str) -> None:
    """Writes the file whole or not at all."""
    partial = path.with_name(path.name + '.partial')
    partial.write_text(text)
    partial.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Writes indented JSON, whole or not at all."""
    write_whole(path, json.dumps(content, indent=2) + '\n')


def read_records(path: Path, last_step: int) -> list[Record]:
    """The records up to a step; a line that a kill cut short ends the file."""
    records = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if record['step'] > last_step:
            break
        records.append(record)
    return records


class Board:
    """TensorBoard events, written at once and by this thread, so that a full disk is noticed."""

    def __init__(self, folder: Path, first_step: int):
        folder.mkdir(exist_ok=True)
        self._writer = EventsWriter(str(folder / 'events'))
        # Steps from here on that a killed process wrote no longer count.
        self._write(first_step, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Adds one point to each curve."""
        points = [Summary.Value(tag=tag, simple_value=x) for tag, x in numbers.items()]
        self._write(step, summary=Summary(value=points))
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

    def _write(self, step: int, **content: Any) -> None:
        self._writer.write_event(Event(wall_time=time.time(), step=step, **content))


class Metrics:
    """The records of a run, in metrics.jsonl and on TensorBoard, each once whatever was killed.

    Where there is a tracker they go to Weights & Biases, too; and so does the summary.

    A record is {'kind', 'step', 'epoch', ...numbers}, with a 'phase' where it is of training and a
    'part' of the data where it is of diagnostics. One of the processes of a run `writes`; the
    others have the records only.
    """

    def __init__(
        self, workdir: Path, last_step: int, writes: bool = True, tracker: Tracker | None = None
    ):
        path = workdir / 'metrics.jsonl'
        self.records = read_records(path, last_step)
        self.workdir, self._writes, self._tracker = workdir, writes, tracker
        if not writes:
            return
        write_whole(path, ''.join(json.dumps(record) + '\n' for record in self.records))
        self._file = path.open('a')
        self._board = Board(workdir / 'tensorboard', last_step + 1)

    def write(self, record: Record) -> None:
        """Appends the record; it is in the files when this returns."""
        self.records.append(record)
        if not self._writes:
            return
        self._file.write(json.dumps(record) + '\n')
        self._file.flush()
        names = (record['kind'], record.get('phase'), record.get('part'))
        curve = '/'.join(filter(None, names))
        numbers = {
            f'{curve}/{name}': value
            for name, value in record.items()
            if name not in ('kind', 'phase', 'part', 'step')
        }
        self._board.write(record['step'], numbers)
        if self._tracker:
            self._tracker.write(record['step'], numbers)

    def finish(self, summary: dict[str, Any]) -> None:
        """Writes summary.json."""
        if not self._writes:
            return
        write_json(self.workdir / 'summary.json', summary)
        if self._tracker:
            self._tracker.finish(summary)

    def close(self) -> None:
        """Closes the files."""
        if not self._writes:
            return
        self._file.close()
        self._board.close()


def clock(seconds: float) -> str:
    """h:mm:ss; below a minute three digits and a unit."""
    digits = float(f'{seconds:.3g}')
    if digits >= 60:
        minutes, seconds = divmod(round(seconds), 60)
        return f'{minutes // 60}:{minutes % 60:02}:{seconds:02}'
    for unit, scale in (('s', 1), ('ms', 1e3), ('us', 1e6)):
        if digits * scale >= 1:
            return f'{digits * scale:.3g} {unit}'
    return '0 s'


class Console:
    """A banner, then one line of progress: rewritten in place on a terminal, else a line each."""

    def __init__(self, stream: TextIO = sys.stdout):
        self._stream = stream
        self._live = stream.isatty()

    def banner(self, rows: Iterable[tuple[str, Any]]) -> None:
        """Prints names and values, one row each."""
        rows = list(rows)
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            print(f'{name:>{width}}  {value}', file=self._stream, flush=True)

    def progress(self, line: str, *, keep: bool) -> None:
        """Shows the line; one that is not to be kept shows on a terminal only."""
        if self._live:
            width = os.get_terminal_size(self._stream.fileno()).columns - 1
            end = '\n' if keep else ''
            print(f'\r{line[:width]:<{width}}', end=end, file=self._stream, flush=True)
        elif keep:
            print(line, file=self._stream, flush=True)
