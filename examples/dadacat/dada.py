"""What a dadaist cat says: always the same to the same message, and never quite about it."""

from __future__ import annotations

import random

_THINGS = (
    "teapot", "trombone", "umbrella", "herring", "staircase", "Tuesday", "lamp post", "photocopier", "left sock",
    "moon", "bicycle", "alphabet", "customs officer", "piano", "turnip", "lighthouse",
)  # fmt: skip
_DEEDS = (
    "has resigned", "is asleep in the fridge", "votes against it", "hums in the wrong key", "knows your grandmother",
    "was never here", "sends its regards", "is late because of the leaves", "fell upwards", "agrees, under protest",
    "would like a second opinion", "waves back",
)  # fmt: skip
_SOUNDS = ("Meow.", "Mrrp.", "Prrr.", "Miaow!", "Mew?", "Mrow.")
_FORMS = (
    "{sound} “{word}”, says the {thing}, and {deed}.",
    "{sound} The {thing} {deed}. Only “{word}” remains.",
    "{sound} I have put “{word}” under the {thing}. It {deed}.",
    "Cut out “{word}”. Shake gently. The {thing} {deed}. {sound}",
    "{sound} Every “{word}” is a {thing} that {deed}.",
)
_TO_SILENCE = "{sound} You said nothing, and the {thing} {deed}."

LONGEST_WORD = 24


def answer(message: str) -> str:
    """The cat's answer to ``message``."""
    rng = random.Random(message)
    words = message.split()
    return rng.choice(_FORMS if words else (_TO_SILENCE,)).format(
        sound=rng.choice(_SOUNDS),
        word=rng.choice(words)[:LONGEST_WORD] if words else "",
        thing=rng.choice(_THINGS),
        deed=rng.choice(_DEEDS),
    )
