"""Tool calls that agents ask for: what one would do, who must approve it, how it is handed over, and what is done about
one of which nobody knows how it ended.
"""
