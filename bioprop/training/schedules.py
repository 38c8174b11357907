"""How the sides of a net take turns: schedules by name.

A schedule is the passes over the training set that make up an epoch. A pass gives the turns that it
takes on each minibatch, and a turn names the sides that it updates together.
"""

from collections.abc import Sequence

BOTH, FEEDBACK, FORWARD = ('forward', 'feedback'), ('feedback',), ('forward',)

SCHEDULES = {
    'parallel': ((BOTH,),),
    'alternating': ((FEEDBACK,), (FORWARD,)),
    'alternating_step': ((FEEDBACK, FORWARD),),
}


def passes(
    schedule: str, sides: Sequence[str], feedback_steps: int = 1, feedback_passes: int = 0
) -> tuple:
    """The passes of an epoch, of the sides that are trained.

    Feedback takes feedback_steps turns on a minibatch, each before the turn of the schedule, and
    feedback_passes more passes at the end of the epoch.
    """
    restricted = [
        [tuple(side for side in turn if side in sides) for turn in turns]
        for turns in SCHEDULES[schedule]
    ]
    more = [FEEDBACK] * (feedback_steps - 1)
    return (
        *(tuple(more * ('feedback' in turns[0]) + turns) for turns in restricted),
        *[(FEEDBACK,)] * feedback_passes,
    )
