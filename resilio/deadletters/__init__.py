"""What keeps a failed message until it can be replayed: the letter, the queue, and the stores it can lie in.

A store makes letters durable and hands them out; the queue gives it a front in the caller's colour. Why a message
failed is told to this room, never found out here.

The public names live in `queue` (`DeadLetterQueue`), `letter` (`DeadLetter`, `LetterStatus`), `store`
(`DeadLetterStats`, and the protocols that a store fulfils), `replay` (`ReplaySummary`), `errors` and `events`. Below
them, from the top down: `threaded_store` puts a blocking store behind worker threads, `group_commit` lets many senders
share one fsync, `journal` decides what each operation does, `journal_log` keeps the file and its index in step,
`journal_file` and `lines` know what lies on the disk.
"""
