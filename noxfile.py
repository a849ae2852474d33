"""The one task runner: `nox -l` says what there is."""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
FOLDERS = ("resilio", "tests", "benchmarks", "examples", "noxfile.py")


def install(session: nox.Session, *groups: str, extras: str = "") -> None:
    """Put the package and some dependency groups into the session's environment, resolved in one go."""
    wanted = [each for group in groups for each in nox.project.dependency_groups(PROJECT, group)]
    session.install("-e", f".[{extras}]" if extras else ".", *wanted)


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test, then the sessions `lint` and `types`. Arguments go to pytest."""
    install(session, "test")
    session.run("python", "-m", "pytest", *(session.posargs or ("-n", "logical")))
    if not session.posargs:
        session.notify("lint")
        session.notify("types")


@nox.session
def coverage(session: nox.Session) -> None:
    """Run every test with branch coverage, child processes included; takes twice as long as `tests`."""
    install(session, "test")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *(session.posargs or ("-n", "logical")))
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, spelling, and that imports only go down the floors."""
    install(session, "lint")
    session.run("ruff", "check", *FOLDERS)
    session.run("ruff", "format", "--check", *FOLDERS)
    session.run("codespell", *FOLDERS, "README.md", "CHANGELOG.md")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types: mypy in strict mode everywhere, and that every public name is typed in full."""
    install(session, "types")
    session.run("mypy", *(folder for folder in FOLDERS if folder != "tests"))
    for folder in sorted(Path("tests").iterdir()):  # one by one: each has a conftest and helpers of its own
        if folder.is_dir() and any(folder.glob("*.py")):
            session.run("mypy", str(folder))
    session.run("basedpyright", "--ignoreexternal", "--verifytypes", "resilio", "--pythonpath", "python")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the DadaCat message service through a bad day and its recovery. Arguments go to the demo."""
    install(session, "examples")
    session.run("python", "-m", "examples.dadacat", *session.posargs)


@nox.session
def proto_ddf(session: nox.Session) -> None:
    """Build and serve the Proto-DDF example, a Reflex application, until Ctrl-C. Arguments go to it: --port 8000."""
    install(session, "proto-ddf")
    # It has a server to end and a folder to tidy up.
    session.run("python", "-m", "examples.proto_ddf", *session.posargs, interrupt_timeout=30.0)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what protection costs, beside the peers and the limit of a Python call, in one run; takes minutes."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)
