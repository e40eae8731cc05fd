"""What one call has to pass before it is sent, and what is booked once it has ended: caps, rates and calls at once,
breakers, purses. Which limits there are stands in `runs.limits`; what judges without acquiring, in `runs.guards`.
"""
