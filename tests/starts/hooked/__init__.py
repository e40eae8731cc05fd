"""An app that a real console is given in a test: one workflow with a webhook."""
