"""What a run leaves: its folder, checkpoints, records and conditions, written and read."""

from bioprop.records.frames import records, runs

__all__ = ['records', 'runs']
