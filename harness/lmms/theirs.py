"""Running lmms-eval's code without what it leaves behind.

Its modules change warning filters, environment variables and Pillow's settings, log through loguru to
standard error, print scores, draw random numbers, and call ``sys.exit`` for a missing file. All of that ends
here: what it says goes nowhere, what it changes is put back, and an exit is an error like any other.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from harness.errors import HarnessError, InfrastructureError
from harness.lmms.catalogue import RECIPE

_PACKAGES = {"cv2": "opencv-python-headless", "Levenshtein": "Levenshtein", "PIL": "pillow"}
"""Packages that are not called as their module is."""


_JUDGE_KEYS = ("OPENAI_API_KEY", "AZURE_API_KEY", "AZURE_OPENAI_API_KEY")


class TheirError(HarnessError):
    """lmms-eval's code ended with an error or tried to end the process."""


class _CalledOut(BaseException):
    """A scorer that calls a server; no ``except Exception`` of its own keeps it from being seen."""


@contextlib.contextmanager
def scoring(home: Path | None, seed: int) -> Iterator[None]:
    """A region for scorers: :func:`contained`, and no call to a judge on a server without the key for one.

    Without this a scorer that wants a judge tries ten times and then counts the answer as wrong. Raises
    TheirError instead.
    """
    with contained(home, seed), contextlib.ExitStack() as stack:
        if not any(os.environ.get(key) for key in _JUDGE_KEYS):
            for place in ("requests.sessions.Session.request", "httpx.Client.send"):
                with contextlib.suppress(ImportError, AttributeError):
                    stack.enter_context(mock.patch(place, _call_out))
        try:
            yield
        except _CalledOut as error:
            raise TheirError(
                "the scorer wants a judge on a server for this answer; set OPENAI_API_KEY to let it be asked"
            ) from error


def _call_out(*_: object, **__: object) -> None:
    raise _CalledOut


@contextlib.contextmanager
def contained(home: Path | None = None, seed: int = 0) -> Iterator[None]:
    """A region in which lmms-eval's code may run. ``home`` is what it takes for ``HF_HOME``, the folder that
    its tasks look for videos in; None leaves the user's own.

    Raises TheirError where it exits, InfrastructureError where a package is missing.
    """
    _import_loguru()
    environment, folder = dict(os.environ), os.getcwd()
    handlers, level = list(logging.root.handlers), logging.root.level
    os.environ["HF_HOME"] = str(home or Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser())
    os.environ.setdefault("HF_DATASETS_CACHE", _datasets_cache())
    nowhere = io.StringIO()
    try:
        with (
            _numbers_as_they_were(seed),
            warnings.catch_warnings(),
            _pillow_as_it_was(),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            yield
    except SystemExit as error:
        raise TheirError(f"lmms-eval gave up: {error.code}") from error
    except ModuleNotFoundError as error:
        package = _PACKAGES.get(error.name or "", error.name)
        raise InfrastructureError(
            f"lmms-eval's code for this task needs the package {package}, which is not installed; "
            f"`pip install {package}` (all that the common tasks need: {RECIPE})"
        ) from error
    finally:
        _restore_environment(environment)
        os.chdir(folder)
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


@contextlib.contextmanager
def _numbers_as_they_were(seed: int) -> Iterator[None]:
    """Every global generator begins at the seed, and goes on afterwards where it stood; torch's settings,
    which times depend on, are as before too."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    threads, gradients, dtype = torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        torch.set_default_dtype(dtype)
        if torch.is_grad_enabled() != gradients:
            torch.set_grad_enabled(gradients)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def _restore_environment(before: dict[str, str]) -> None:
    for name in set(os.environ) - set(before):
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


@contextlib.contextmanager
def _pillow_as_it_was() -> Iterator[None]:
    from PIL import ImageFile

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _datasets_cache() -> str:
    import datasets

    return str(datasets.config.HF_DATASETS_CACHE)


def _import_loguru() -> None:
    """Import loguru while standard error is the real one, which it keeps, and switch off what lmms-eval and
    the task files say through it."""
    try:
        from loguru import logger
    except ModuleNotFoundError as error:
        raise InfrastructureError(f"lmms-eval needs loguru, which is not installed; {RECIPE}") from error
    for module in ("lmms_eval", "utils"):
        logger.disable(module)


def their(module: str) -> Any:
    """A module of lmms-eval; to be called inside :func:`contained`."""
    return importlib.import_module(module)
