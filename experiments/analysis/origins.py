"""What the runs of a study were made with: versions, commits and hardware."""

from typing import Any

from bioprop.records.provenance import provenance
from experiments.analysis.results import Run
from experiments.analysis.rows import grouped


def origins(runs: list[Run]) -> list[tuple[dict[str, Any], int]]:
    """Versions, commit and hardware, and the number of the runs that were made with them."""
    alike = grouped((run.provenance() for run in runs), repr).values()
    return [(each[0], len(each)) for each in alike if each[0]]


def made_with(runs: list[Run]) -> dict[str, Any]:
    """The versions and hardware of this process, and those of the runs with their commits."""
    origin = [told | {'runs': count} for told, count in origins(runs)]
    commits = {told['commit'] for told in origin}
    return provenance() | {'commit': ', '.join(sorted(filter(None, commits))), 'origins': origin}
