"""One command: the service, the application, and what a client sees. `--serve` keeps them up for a browser."""

from __future__ import annotations

import logging
import sys

import anyio

from examples.dadacat.serving import listen, serving, url_of
from examples.web.app import make_app
from examples.web.questions import Questions
from examples.web.upstream import Upstream


async def main(*, serve: bool) -> None:
    """Serve both on free ports, and ask."""
    upstream, back, front = Upstream(), listen(), listen()
    app = make_app(url_of(back))
    async with serving(upstream.asgi, back), serving(app, front, lifespan="on"):
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # the traceback of /bug is not the point here
        if serve:
            upstream.mood = "broken"
            print(f"the service is broken; look at {url_of(front)}/cats/1, /cats/x, /bug, /health and /docs")
            await anyio.sleep_forever()
        await Questions(url_of(front), upstream).ask_all()


if __name__ == "__main__":
    try:
        anyio.run(lambda: main(serve="--serve" in sys.argv[1:]))
    except KeyboardInterrupt:
        print("bye")
