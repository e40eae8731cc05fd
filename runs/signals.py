"""How the people's package hears of the engine, inside the engine's own transaction, as its last act.

`question_asked(question)` and `question_closed(question)` are sent under the run's row lock; a receiver may only
append (escalation, journal). A system check fails when nobody listens.
"""

from django.dispatch import Signal

question_asked = Signal()
question_closed = Signal()  # expired or withdrawn; answers come from the people's side itself
