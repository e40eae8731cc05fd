"""The workflow `dependency_review`: the Python packages that are installed here, one task a package, one report."""
