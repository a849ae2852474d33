"""What an error becomes: the report, its fingerprint, its context, the words for the user.

Nothing here wraps a call, and nothing here tells anyone: the rooms above read what is written here. A handler hands its
reports on to a notifier and a queue that it is given, and knows neither of them by name.
"""
