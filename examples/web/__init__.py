"""A web application in front of a service that fails: `python -m examples.web`, or with `--serve` for a browser.

* `upstream`: the service, which can be told to be busy, broken or well.
* `app`: the application: problem details, Retry-After, health.
* `questions`: what is asked of it, and what is shown of the answers.
"""
