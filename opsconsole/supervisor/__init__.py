"""`manage.py up`: the whole console on one machine.

The supervisor loads the code so that its children need not, but opens no connection of its own and
calls nothing of the product: what touches tables or sockets runs in a child.
"""
