"""Invoices for browser tests, written for one test each. All are above the limit, so that a person is asked."""

_TEXT = """\
{supplier}
Zone d'activité du Ried, 67999 Benfeld, FR
N° TVA {vat}

FACTURE

Facture n°:           {number}
Date de facture:      01/10/2026
Échéance:             15/11/2026
Bon de commande:      PO-7037
Devise:               EUR

Désignation                        Qté      PU HT     TVA   Montant HT
----------------------------------------------------------------------
{line}            24     512,00   5,5 %    12 288,00
Location chambre froide, octobre     1   1 900,00    20 %     1 900,00

Total HT                                                     14 188,00
TVA 20 % sur 1 900,00                                           380,00
TVA 5,5 % sur 12 288,00                                         675,84
Total TTC                                                    15 243,84

IBAN: FR98 0000 0000 0000 0000 0012 990
{note}"""

SUPPLIER = "Boulangerie Industrielle du Ried SAS"


def invoice(
    number: str,
    *,
    supplier: str = SUPPLIER,
    vat: str = "FR00999001299",
    line: str = "Pâte feuilletée, palette",
    note: str = "",
) -> str:
    """15,243.84 EUR; a supplier on file unless another is named."""
    remarks = f"\nRemarques: {note}\n" if note else ""
    return _TEXT.format(number=number, supplier=supplier, vat=vat, line=line, note=remarks)
