"""What may be wrong with a trial itself, each said in a sentence that tells its author what to do."""


class TrialFault(AssertionError):
    """A trial could not be carried out as it was written."""


class NoTransactions(TrialFault):
    """The test runs inside a transaction, which no other thread can see into."""


class CannotWork(TrialFault):
    """The definition is one that the system checks refuse."""


class NotScripted(TrialFault):
    """An agent has neither a script nor a simulated rule, and a trial asks no real model."""


class ScriptRanDry(TrialFault):
    """An agent or a tool was asked once more than its script has replies."""

    def __init__(self, sentence: str, *, agent: str = "") -> None:
        super().__init__(sentence)
        self.agent = agent


class CannotAnswer(TrialFault):
    """A question was given an answer that questions of its kind do not take."""


class AnswerLeftOver(TrialFault):
    """The run came to its end before every answer was asked for."""


class NeverSettled(TrialFault):
    """The run did not come to an end or a question within the bounds of the trial."""
