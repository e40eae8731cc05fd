"""The same steps by other libraries. The scripts run in .venv-peers and import nothing of ours."""
