"""Programs that show resilio at work; start one with ``python -m examples.NAME``."""
