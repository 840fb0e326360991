"""The data sets of these tests: eighteen tasks of lmms-eval in small."""

from __future__ import annotations

from tests.lmms.picture_sets import PICTURE_SETS
from tests.lmms.video_sets import VIDEO_SETS

SOURCES = (*PICTURE_SETS, *VIDEO_SETS)
