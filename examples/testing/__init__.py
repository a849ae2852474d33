"""How a user of resilio tests an outage: `shop.py` is the code under test, the rest its tests.

python -m pytest examples/testing
"""
