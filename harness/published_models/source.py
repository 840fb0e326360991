"""Where a published checkpoint comes from: a hub's repository at a revision, or a local folder.

Only ``huggingface_hub`` downloads. Settings come first, so that a checkpoint which cannot be used is refused
before its weights are fetched; code of a repository is not even downloaded unless it is trusted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InfrastructureError, UsageError
from harness.modelfiles import CONFIG, read_json, weight_files
from harness.published_models.families import known_type, supported
from harness.published_models.names import HUB

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SETTINGS = ("*.json", "*.jinja", "*.txt", "*.model")
_WEIGHTS = ("*.safetensors",)
_CODE = ("*.py",)
_CONFIGS = (CONFIG, "processor_config.json", "preprocessor_config.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint on disk: ``name`` is what records call the backbone, ``title`` what tables call a row;
    ``pinned`` as ``--backbone`` finds the very same again."""

    name: str
    title: str
    pinned: str
    folder: Path
    model_type: str


def locate(name: str, *, weights: bool = True, trust_remote_code: bool = False) -> Checkpoint:
    """The checkpoint of a name, downloaded where it is not yet; ``weights`` False leaves its weights out.

    Raises UsageError for a name that cannot be used and for code that is not trusted, InfrastructureError
    where the hub cannot be reached.
    """
    if not name.startswith(HUB):
        folder = Path(name).expanduser().absolute()
        document = read_json(folder / CONFIG)
        check_code(name, folder, None, trust_remote_code)
        digest = hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest()[:8]
        return Checkpoint(
            name=f"{folder.name}@{digest}",
            title=_title(folder.name),
            pinned=name,
            folder=folder,
            model_type=_supported(name, document),
        )
    repository, at, revision = name.removeprefix(HUB).partition("@")
    if not _REPOSITORY.fullmatch(repository) or (at and not revision):
        raise UsageError(f"{name!r} names no repository; write hub:ORG/NAME or hub:ORG/NAME@REVISION")
    folder = _snapshot(name, repository, revision or None, _SETTINGS)
    check_code(name, folder, revision or None, trust_remote_code)
    model_type = _supported(name, read_json(folder / CONFIG))
    more = (*(_WEIGHTS if weights else ()), *(_CODE if trust_remote_code else ()))
    if more:
        folder = _snapshot(name, repository, folder.name, (*_SETTINGS, *more))
    return Checkpoint(
        name=f"{HUB}{repository}@{folder.name[:12]}",
        title=repository.partition("/")[2],
        pinned=f"{HUB}{repository}@{folder.name}",
        folder=folder,
        model_type=model_type,
    )


def check_code(name: str, folder: Path, revision: str | None, trust_remote_code: bool) -> None:
    """Raise UsageError for a checkpoint that brings code which is not trusted, or not pinned."""
    bringing = [file for file in _CONFIGS if (folder / file).is_file() and _maps(read_json(folder / file))]
    if not bringing:
        return
    if not trust_remote_code:
        raise UsageError(
            f"{name} brings code of its own ({bringing[0]} has auto_map), which is not run unless you ask; "
            "read that code, then add --trust-remote-code, and pin it as hub:ORG/NAME@COMMIT"
        )
    if name.startswith(HUB) and not _COMMIT.fullmatch(revision or ""):
        raise UsageError(
            f"{name} brings code of its own, which may change under a name such as {revision or 'main'!r}; "
            "pin it to the commit that you have read: hub:ORG/NAME@COMMIT with all 40 digits"
        )


def digest_of(folder: Path) -> str:
    """SHA-256 (16 hex digits) over a checkpoint's weights, settings and code, file by file: the tokenizer and
    the chat template are settings, and so is what ends an answer."""
    state = hashlib.sha256()
    settings = {path for pattern in (*_SETTINGS, *_CODE) for path in folder.glob(pattern)}
    for path in [*weight_files(folder), *sorted(settings)]:
        if path.is_file():
            state.update(f"{path.name}:{_sha256(path)};".encode())
    return state.hexdigest()[:16]


def _sha256(path: Path) -> str:
    """A file's SHA-256; the hub's cache names large files by it."""
    blob = path.resolve().name
    if _SHA256.fullmatch(blob):
        return blob
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; copy the checkpoint again") from error


def _supported(name: str, document: dict[str, Any]) -> str:
    model_type = str(document.get("model_type"))
    if known_type(model_type) is None:
        raise UsageError(
            f"{name} is a model of type {model_type!r}, which does not run with its own fusion here; "
            f"supported: {', '.join(supported())}; a plugin can bring an adapter (docs/published_models.md)"
        )
    return model_type


def _title(name: str) -> str:
    """A folder's name with nothing in it that a method's name cannot have."""
    return re.sub(r"[^\w.-]", "_", name) or "checkpoint"


def _maps(document: dict[str, Any]) -> bool:
    parts = [document, *(value for value in document.values() if isinstance(value, dict))]
    return any(part.get("auto_map") for part in parts)


def _snapshot(name: str, repository: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """The folder of a repository at a revision, with the files that match; its name is the commit."""
    from huggingface_hub import errors as hub
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except hub.GatedRepoError:
        raise UsageError(
            f"{name} is gated: accept its licence on its page, then log in with `hf auth login` or set "
            "HF_TOKEN"
        ) from None
    except hub.RepositoryNotFoundError:
        raise UsageError(
            f"{name} is not on the hub, or is private; check the name, or log in with `hf auth login` or set "
            "HF_TOKEN"
        ) from None
    except hub.RevisionNotFoundError:
        raise UsageError(f"{name}: there is no revision {revision!r}; give a branch, tag or commit") from None
    except hub.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise UsageError(
                f"the hub refuses {name} (HTTP {status}); log in with `hf auth login` or set HF_TOKEN, with "
                "access to it"
            ) from None
        raise _unreachable(name, error) from None
    except Exception as error:
        of_a_client = type(error).__module__.startswith(("huggingface_hub", "httpx", "httpcore", "requests"))
        if of_a_client or isinstance(error, OSError | ValueError):
            raise _unreachable(name, error) from None
        raise


def _unreachable(name: str, error: Exception) -> InfrastructureError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
    return InfrastructureError(
        f"{name} cannot be fetched from the hub ({reason}); go online, or copy the checkpoint here and give "
        "--backbone DIR"
    )
