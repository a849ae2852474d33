"""What an error becomes: the report, its fingerprint, its context, the words for the user.

Nothing here wraps a call, and nothing here tells anyone: the rooms above read what is written here.
"""
