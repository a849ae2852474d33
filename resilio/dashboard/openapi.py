"""x"""


def document():
    return {}
