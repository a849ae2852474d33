"""What protection costs: resilio, its peers and the limit of a Python call, in one process and one run.

``python -m benchmarks`` measures and prints; `rows` says what is measured and what is to be reached, `limits` holds the
least code that does each row's work at all, `ours` and `peers` hold the contestants, `measuring` is the stopwatch.
Nothing here is imported by the package, and no test asserts a time.
"""
