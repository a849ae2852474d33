"""Who is told about an error: the notifier and its channels.

Deciding *that* something is worth telling, and getting it to a person without a storm, is this room's whole business.
"""
