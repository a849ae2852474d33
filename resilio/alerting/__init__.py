"""Who is told about an error: the notifier and its channels, alert rules and their incidents, health checks.

Deciding *that* something is worth telling, getting it to a person without a storm, and what may be done about it
without a person, is this room's whole business. What an error is, and how many there were, the room `reporting` says.
"""
