"""claim -> perform -> settle, under the gate. PostgreSQL is the truth; nothing here enqueues a message."""
