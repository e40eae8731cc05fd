"""Document text to invoice fields by rules: what the simulated extractor knows. Decides nothing.

Fields come back as text in normal form where the reading is certain, and as they stand where it is not:
whether that meets the contract is for the engine to find out.
"""

from opsconsole.shipped.invoice_intake import plain_text, ubl


def extract(kind: str, text: str) -> dict[str, object]:
    """The fields of `contracts.Extracted` as the document states them. Raises documents.DocumentRefused."""
    return ubl.fields(text) if kind == "ubl" else plain_text.fields(text)
