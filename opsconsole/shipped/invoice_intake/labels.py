"""The words by which invoices name their parts, as patterns. Add a language here, nowhere else."""

import re

_GAP = r"[ \t\u00a0]"
_VALUE = rf"(?P<value>[^\s|](?:[^\n|]*?[^\s|])?)(?={_GAP}{{2,}}|{_GAP}*\||{_GAP}*$)"


def _field(*labels: str) -> re.Pattern[str]:
    """A label at the start of a row or after a gap, a mark or a gap, then the value up to the next gap."""
    words = "|".join(sorted(labels, key=len, reverse=True))
    # Possessive throughout: a row of nothing but gaps must not be tried in every way it can be divided.
    return re.compile(
        rf"(?:^|(?<!{_GAP}){_GAP}{{2,}}+|\|){_GAP}*+(?:{words}){_GAP}*+(?:[:#|]|\.{{2,}}+|(?<={_GAP})){_GAP}*+{_VALUE}",
        re.IGNORECASE | re.MULTILINE,
    )


def _row(*labels: str) -> re.Pattern[str]:
    words = "|".join(sorted(labels, key=len, reverse=True))
    return re.compile(rf"^[\s|*=-]*+(?:{words})(?=[\s:|.]|$)", re.IGNORECASE)


FIELDS = {
    "invoice_number": _field(
        r"invoice (?:number|no\.?|#)",
        r"inv\.? no\.?",
        r"rechnungs-?(?:nummer|nr\.?)",
        r"rechnung nr\.?",
        r"(?:facture )?n° de facture",
        r"facture n[°o]\.?",
        r"numéro de facture",
        r"fakturanummer",
        r"faktura nr\.?",
        r"factuurnummer",
    ),
    "supplier_name": _field(
        r"from", r"supplier", r"seller", r"lieferant", r"fournisseur", r"leverantör", r"leverancier"
    ),
    "supplier_vat_id": _field(
        r"vat (?:reg\.? )?(?:no\.?|id|number)",
        r"ust-?id(?:-?nr)?\.?",
        r"n° (?:de )?tva",
        r"tva intracom\.?",
        r"moms(?:reg)?\.?(?:nr|nummer)\.?",
        r"btw-?(?:nr|nummer)\.?",
    ),
    "issue_date": _field(
        r"invoice date",
        r"date of issue",
        r"issued",
        r"rechnungsdatum",
        r"date de (?:la )?facture",
        r"date d['’]émission",
        r"fakturadatum",
        r"factuurdatum",
    ),
    "due_date": _field(
        r"due(?: date| by)?",
        r"payment due",
        r"pay by",
        r"fällig(?: am)?",
        r"zahlbar bis",
        r"(?:date d['’])?échéance",
        r"förfallodatum",
        r"vervaldatum",
    ),
    "currency": _field(r"currency", r"währung", r"devise", r"monnaie", r"valuta"),
    "purchase_order": _field(
        r"(?:your |our )?(?:purchase )?order(?: no\.?| number| ref\.?)?",
        r"po(?: no\.?| number)?",
        r"your ref\.? ?\(po\)",
        r"(?:ihre )?bestell(?:ung|nummer|-nr\.?)",
        r"(?:bon de |votre )?commande(?: n[°o]\.?)?",
        r"(?:ert )?(?:inköps)?order(?:nummer|nr\.?)?",
        r"(?:uw )?(?:inkoop)?(?:bestel|order)nummer",
    ),
    "iban": _field(r"(?:pay(?:able)? to:?|konto|compte|till|bank)?:?\s*iban"),
}

NOTE = re.compile(
    r"^[ \t]*(?:notes?|remarks?|comments?|hinweise?|bemerkung(?:en)?|remarques?|meddelande|opmerking(?:en)?)"
    r"[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)

ENGLISH = re.compile(r"\binvoice\b", re.IGNORECASE)

TITLES = re.compile(
    r"(?:tax |proforma )?invoice|rechnung|facture|faktura|factuur|copy|kopie|copie|original"
    r"|(?:page|seite|sida) \d.*",
    re.IGNORECASE,
)

COLUMNS = {
    word: column
    for column, words in {
        "description": "description|item|bezeichnung|leistung|artikel|désignation|benämning|omschrijving",
        "quantity": "qty|quantity|menge|anzahl|qté|quantité|antal|aantal",
        "unit_price": "unit price|price|einzelpreis|preis|pu ht|prix unitaire|p.u|pris|à-pris|prijs",
        "vat_rate": "vat %|vat|ust %|ust|mwst|mwst %|tva|tva %|moms|moms %|btw|btw %",
        "amount": "amount|line total|betrag|gesamt|montant|montant ht|total ht|belopp|summa|bedrag",
    }.items()
    for word in words.split("|")
}

NET = _row(
    r"net(?: total| amount)?",
    r"sub-?total",
    r"total net",
    r"total excl(?:\.|uding) vat",
    r"netto(?:betrag)?",
    r"zwischensumme",
    r"summe netto",
    r"total h\.?t\.?",
    r"summa netto",
    r"summa exkl\.? moms",
    r"subtotaal",
)
VAT_TOTAL = _row(
    r"total vat",
    r"vat total",
    r"(?:ust|mwst)\.? gesamt",
    r"total tva",
    r"summa moms",
    r"moms totalt",
    r"totaal btw",
)
GROSS = _row(
    r"total due",
    r"amount due",
    r"total incl(?:\.|uding) vat",
    r"grand total",
    r"total payable",
    r"gesamtbetrag",
    r"rechnungsbetrag",
    r"zu zahlen",
    r"total t\.?t\.?c\.?",
    r"net à payer",
    r"(?:summa )?att betala",
    r"te betalen",
    r"totaal incl\.? btw",
)
VAT_ROW = re.compile(
    r"^[\s|*=-]*+(?:zzgl\. |plus )?(?:vat|ust|mwst|tva|moms|btw)\.?\s+(?:à |at |@ )?(?P<rate>[\d.,]+)\s*%"
    r"(?:\s+(?:on|of|auf|von|sur|på|av|over|van)\s+"
    r"(?P<base>\S+(?:[ \u00a0\u202f]\d{3}(?!\d))*(?:[.,]\d+)?))?(?=[\s:|]|$)",
    re.IGNORECASE,
)
