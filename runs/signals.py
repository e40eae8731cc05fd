"""How the people's package hears of the engine, inside the engine's own transaction, as its last act.

`question_asked(question)` and `question_closed(question)` are sent under the run's row lock; a receiver may only
append (escalation, journal). A system check fails when nobody listens.
`effect_looked_at(question, saw)`: somebody's answer was to look again, and this is what was seen.
`question_hurried(question, was)`: its deadline was brought forward, from `was`, to the end of its run.
`effect_left_open(call)`: an effect is under way, or was lost, and its step is over: nobody will be asked about it.
"""

from django.dispatch import Signal

question_asked = Signal()
question_hurried = Signal()
effect_looked_at = Signal()
effect_left_open = Signal()
question_closed = Signal()  # expired or withdrawn; answers come from the people's side itself
