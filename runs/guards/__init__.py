"""The guards that acquire nothing: they look at one run, step by step, and say what they found.

Pure: no database, no Django, no clock, no network. They refuse nothing; whoever asks decides what a finding leads to
(observe, warn, enforce). What reserves something (breaker permits, rates, budgets) is not here.
"""
