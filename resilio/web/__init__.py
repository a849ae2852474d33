"""Where users meet an error, and where calls leave: problem details, web frameworks, HTTP clients, state handlers.

Each module belongs to one library, which comes with an extra: `resilio.web.starlette` and `resilio.web.fastapi` with
``web``, `resilio.web.httpx` with ``http``. What an error is, and what it is called, the room `reporting` says; when a
call is made again, the room `policies`.
"""
