"""What the runs of a study were made with: versions, commits and hardware."""

import json
from collections import Counter
from typing import Any

import pandas as pd

from bioprop.records.frames import read_json
from bioprop.records.provenance import provenance

TOLD = ('versions', 'commit', 'hardware')


def origins(runs: pd.DataFrame) -> list[tuple[dict[str, Any], int]]:
    """Versions, commit and hardware, and the number of the runs that were made with them.

    Runs whose workdir is not there do not tell.
    """
    paths = [folder / 'config.json' for folder in runs.folder]
    told = [read_json(path) for path in paths if path.exists()]
    counts = Counter(json.dumps({key: each[key] for key in TOLD if key in each}) for each in told)
    return [(json.loads(text), count) for text, count in counts.items()]


def made_with(runs: pd.DataFrame) -> dict[str, Any]:
    """The versions and hardware of this process, and those of the runs with their commits."""
    origin = [told | {'runs': count} for told, count in origins(runs)]
    commits = {told['commit'] for told in origin}
    return provenance() | {'commit': ', '.join(sorted(filter(None, commits))), 'origins': origin}
