"""What keeps a failed message until it can be replayed: the letter, the queue, and the stores it can lie in.

A store makes letters durable and hands them out; the queue gives it a front in the caller's colour. Why a message
failed is told to this room, never found out here.
"""
