"""What can go wrong with weights.

ModelProblemError
├── ModelMissingError      not in the cache; fetch it
├── UnknownModelError      no such id in the manifest
├── ChecksumError          the bytes are not the pinned ones; they were deleted
└── SourceDownError        a source could not be reached, or does not have the file
"""

from __future__ import annotations

from dataclasses import dataclass


class ModelProblemError(Exception):
    """Weights cannot be used as they are; the text says what to do."""


@dataclass(eq=False)
class ModelMissingError(ModelProblemError):
    """The files are not in the cache folder."""

    model_ids: tuple[str, ...]

    def __str__(self) -> str:
        return f"weights missing: {', '.join(self.model_ids)}; run 'payphone models fetch'"


@dataclass(eq=False)
class UnknownModelError(ModelProblemError):
    """The manifest has no such model."""

    model_id: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return f"unknown model {self.model_id}; known are {', '.join(self.known)}"


@dataclass(eq=False)
class ChecksumError(ModelProblemError):
    """A file was not what the manifest pins; it was deleted and must be fetched again."""

    model_id: str
    file: str
    expected: str
    got: str

    def __str__(self) -> str:
        return (
            f"{self.model_id}/{self.file}: expected SHA-256 {self.expected}, got {self.got}; "
            "the file was refused and deleted; run 'payphone models fetch' again"
        )


@dataclass(eq=False)
class SourceDownError(ModelProblemError):
    """A source cannot give the file now; another one may."""

    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"
