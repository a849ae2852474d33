"""Where users meet an error: problem details, HTTP clients and frameworks, and the state behind a page.

What is shown is always read from the one report that `resilio.reporting` made of the error. Nothing here decides
whether a call is tried again or let through: that is the policies' business. Import the module you need, such as
`resilio.web.state`; each framework is an extra and is loaded by its own module only.
"""
