"""Benchmarks of the engine and its screens: `manage.py bench`. Nothing of production imports this.

Each benchmark has servers, a database and processes of its own in a directory that is removed afterwards:
`command` chooses and prints, `world` starts and ends the processes of one, the modules named after what they measure
drive it. They measure and assert nothing.
"""
