"""An app of workflows that put a whole console under load, and some that hurt its workers."""
