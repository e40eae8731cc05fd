"""What the budgets page shows: accounts of the present periods, when they will be used up, one of them over its period,
what was spent where, what nobody knows. Reads only, and never the calls of a month: those are added up
(`runs.engine.spend.burn`).
"""
