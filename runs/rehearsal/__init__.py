"""Rehearsal: what a draft of a limit would have done to runs that are over. Pure.

No database, no clock, no Django: histories come in as values, and what comes out is said of them alone. Nothing is
guessed: what a history does not hold is named, and counts for nothing.
"""
