"""``resilio dashboard``: the dashboard on its own, for one queue, on this machine unless somebody says otherwise."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from resilio.alerting.optional import require
from resilio.cli.console import say
from resilio.cli.exits import CommandFailedError
from resilio.cli.letters import on_a_queue, store_at
from resilio.cli.loading import load
from resilio.deadletters.queue import DeadLetterQueue

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("dashboard",)

_USER: Final = "resilio"
_VARIABLE: Final = "RESILIO_DASHBOARD_PASSWORD"


@click.command()
@on_a_queue
@click.option(
    "--reprocessor", "-r", metavar="MODULE:FUNCTION", envvar="RESILIO_REPROCESSOR", help="What replays a letter."
)
@click.option("--notifier", metavar="MODULE:NAME", help="The AdminNotifier whose channels are shown.")
@click.option("--directory", metavar="PATH", help="Where the processes of this host share what they saw.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="The port; 0 for any.")
@click.option(
    "--password",
    envvar=_VARIABLE,
    help=f"For the user {_USER!r}; {_VARIABLE} keeps it out of the list of processes. By default one is made up.",
)
@click.option("--read-only", is_flag=True, help="Show everything, and let nobody change anything.")
@click.option("--title", default="resilio", show_default=True, help="What the pages are called.")
def dashboard(
    *,
    queue: str | None,
    region: str | None,
    codec: str | None,
    reprocessor: str | None,
    notifier: str | None,
    directory: str | None,
    host: str,
    port: int,
    password: str | None,
    read_only: bool,
    title: str,
) -> None:
    """Serve the dashboard, until Ctrl-C.

    It shows the queue, and with --directory what the processes of this host share. Circuits and errors of another
    process are seen only there, or on a dashboard that is mounted inside of it.
    """
    if not password and not _is_loopback(host):
        msg = (
            f"{host} can be reached from other machines: say which password, with --password or {_VARIABLE}, and put a "
            "proxy that speaks HTTPS before it"
        )
        raise click.UsageError(msg)
    for library in ("starlette", "jinja2", "sse_starlette", "uvicorn"):
        require(library, extra="dashboard", what="resilio dashboard")
    from resilio.dashboard import Role, basic_auth, create_app  # noqa: PLC0415 -- only with its extra

    is_made_up = not password
    password = password or secrets.token_urlsafe(12)
    arguments: dict[str, Any] = {} if codec is None else {"codec": load("--codec", codec)}
    if reprocessor is not None:
        arguments["reprocessor"] = load("--reprocessor", reprocessor)
    if queue is not None:
        letters = DeadLetterQueue(store=store_at(queue, region, may_be_new=True), **arguments)
    else:
        letters = DeadLetterQueue(region=region, **arguments)
    role = Role.READ_ONLY if read_only else Role.ALL
    app = create_app(
        queue=letters,
        notifier=None if notifier is None else load("--notifier", notifier),
        auth=basic_auth({_USER: (password, role)}),
        directory=directory,
        title=title,
    )
    with suppress(KeyboardInterrupt):  # that is how it ends
        _serve(app, host, port, lambda url: _greet(url, password if is_made_up else None, is_local=_is_loopback(host)))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _greet(url: str, password: str | None, *, is_local: bool) -> None:
    say(f"dashboard: {url}", style="bold")
    if not is_local:
        # Without HTTPS, a browser on another machine does not say where a request comes from.
        say("from other machines: to be read over HTTP, to act only through a proxy that speaks HTTPS", style="")
    if password is not None:
        say(f"user {_USER}, password {password} (made up for this run; {_VARIABLE} sets one)", style="")


def _serve(app: Any, host: str, port: int, greet: Callable[[str], None]) -> None:
    import uvicorn  # noqa: PLC0415 -- only with its extra

    listener = _listener(host, port)
    shown = f"[{host}]" if ":" in host else host
    greet(f"http://{shown}:{listener.getsockname()[1]}/")
    with listener:
        config = uvicorn.Config(
            app,
            log_level=os.environ.get("UVICORN_LOG_LEVEL", "error"),  # pages that stay open are no cause for a warning
            server_header=False,
            timeout_graceful_shutdown=2,  # whatever is under way then, Ctrl-C ends it
        )
        uvicorn.Server(config).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    """A listening socket, so that a port that is taken is one line, and port 0 is known before anybody connects."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        msg = f"cannot listen at {host}: {error.strerror or error}"
        raise CommandFailedError(msg) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        msg = f"cannot listen at {host}:{port}: {error.strerror or error}"
        raise CommandFailedError(msg) from error
    return listener
