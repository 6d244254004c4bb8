"""A server with raw network faults, and an oracle that judges what each kind of call makes of them.

`make chaos ARGS='--seconds 600 --seed 3'` plays faults at random; the suite plays each one once.
"""
