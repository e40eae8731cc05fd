"""The wiring of the console: settings, addresses, processes. No rules of the product live here."""
