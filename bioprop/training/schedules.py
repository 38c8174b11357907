"""How the sides of a net take turns: schedules by name.

A schedule is the passes over the training set that make up an epoch. A pass gives the turns that it
takes on each minibatch, and a turn names the sides that it updates together.
"""

BOTH, FEEDBACK, FORWARD = ('forward', 'feedback'), ('feedback',), ('forward',)

SCHEDULES = {
    'parallel': ((BOTH,),),
    'alternating': ((FEEDBACK,), (FORWARD,)),
    'alternating_step': ((FEEDBACK, FORWARD),),
}
