"""A cat that answers text messages, whatever happens to the model behind it.

Read `cat` first: it is the one file that is about resilio. Around it stand

* `service`, `outbox`: the web service that takes Twilio's webhooks, and how late answers leave it,
* `endpoint`, `script`, `dada`: a stand-in for the OpenAI-compatible endpoint, its scripted day, and what it says,
* `driver`, `inbox`, `messages`: a stand-in for Twilio, which plays a file of inbound messages,
* `view`, `story`, `check`: what you see while it runs, and the promises that are checked at the end,
* `serving`: uvicorn on a port of this machine.
"""
