"""`manage.py up`: the whole console on one machine. Loads no Django and touches no table of the product.

Everything that knows Django runs in a child: one that prepares, and the six that stay.
"""
