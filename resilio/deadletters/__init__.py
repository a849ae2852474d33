"""What keeps a failed message until it can be replayed: the letter, the queue, and the stores it can lie in.

A store makes letters durable and hands them out; the queue gives it a front in the caller's colour. Why a message
failed is told to this room, never found out here.

The public names live in `queue` (`DeadLetterQueue`; what people do with it by hand is in `queue_tidying`), `letter`
(`DeadLetter`, `LetterStatus`), `letter_filter`, `guard` (`dead_lettered`), `codec`, `encoder`, `replay_context`,
`replay_rules` and `replay_run` (`ReplaySummary`), `store` (`DeadLetterStats`, and the protocols that a store fulfils),
`errors` and `events`. `blocking` is the queue of `resilio.sync`.

Below the queue, from the top down: `replay_run` replays many letters, `replay` one, while `replay_heart` keeps its
claim alive; `transfer` carries letters out, in and over; `sealed_store` seals what goes into a store and opens what
comes out; `opening` chooses the store. `forwarding` puts a file behind a remote store, `sqs_store` is one in SQS,
`threaded_store` puts a blocking store behind worker threads, and `group_commit` lets many senders share one fsync.
`sqlite_store` and `journal` are blocking stores; of the latter, `journal_operations` decides what each operation does,
`journal_log` keeps the file and its index in step, and `journal_file` and `lines` know what lies on the disk.
"""
