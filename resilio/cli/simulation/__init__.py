"""A dependency that has an outage, and clients that call it through real policies, in virtual time.

What is simulated is the dependency and the clients' demand. The policies are those of `resilio.policies`, driven by
`resilio.testing.VirtualClock`: what they do here they do in production.
"""
