"""The ground floor: time, chance, events, and the two colours of Python functions.

What belongs here is what every room above needs and what knows nothing of resilience: the one clock, the one
source of randomness, the event hub, running a coroutine without an event loop, telling which kind of function one
has in hand, and checking the numbers a user passes in. Nothing here imports from a room above.
"""
