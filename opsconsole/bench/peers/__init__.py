"""The same steps by other libraries. These scripts run in a Python of their own (.venv-peers) and import nothing of ours."""
