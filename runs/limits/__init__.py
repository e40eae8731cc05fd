"""Limits as values: their kinds, which of them apply where, what a change of them allows.

Pure: no database, no Django, no clock. Rows are kept by `runs.models.limit`, read by `runs.engine.limits`, changed by
people through `escalations.limits`. What was spent under a limit is not here.
"""
