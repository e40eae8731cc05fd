"""What a worker process is beside the runs that it performs: its loop, its signs of life, how it obeys a closed gate
and how it leaves. What is done of a run, and in which order, stands in `runs.engine`.
"""
