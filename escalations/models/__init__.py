"""What a person did about it: escalations, decisions, the journal."""

from escalations.models.escalation import Decision, Escalation, EscalationState
from escalations.models.flood import Flood
from escalations.models.imported import Imported, ImportedRun
from escalations.models.journal import JournalEntry, Outcome
from escalations.models.proposal import LimitProposal, ProposalState, TopUpProposal
from escalations.models.rehearsal import Rehearsal, RehearsalState, RehearsedRun

__all__ = [
    "Decision",
    "Escalation",
    "EscalationState",
    "Flood",
    "Imported",
    "ImportedRun",
    "JournalEntry",
    "LimitProposal",
    "Outcome",
    "ProposalState",
    "Rehearsal",
    "RehearsalState",
    "RehearsedRun",
    "TopUpProposal",
]
