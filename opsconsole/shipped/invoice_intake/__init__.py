"""Invoice intake: reads invoice files, checks them, matches purchase orders and posts to a ledger file."""
