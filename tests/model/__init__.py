"""The figures that the machine's workflows and the reference share."""

LEASE, DEADLINE, BACK_OFF, AFTER_CUT, TO_ANSWER, TO_APPROVE = 1000, 28_800, 1200, 1200, 3600, 500  # seconds
BUDGET, NEEDED, POISON, SUSPECT = 1, 2, 3, 2
# What settles a step by itself, by what was asked and how it was answered (nothing: it expired).
SETTLES = {(kind, verb): "ended" for kind in ("error", "contract") for verb in ("", "reject")}
SETTLES["contract", "approve"] = "done"
