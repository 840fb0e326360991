"""H.264 through PyAV: frames to a file's bytes, and a file back to frames."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction

import av
import numpy as np

from harness.errors import MediaError
from harness.stream import Pixels

CRF, PRESET = 20, "ultrafast"
"""x264's rate factor and preset: near to lossless to the eye, and twice as fast to decode as "veryfast"."""


def encode_h264(frames: Pixels, fps: int) -> bytes:
    """Encode [n, H, W, 3] frames (even sides) as H.264 yuv420p in MP4.

    One thread, so that the same build of x264 gives the same bytes; a key frame opens every second and
    nothing is predicted across it, so no frame carries a residue of what an earlier second showed.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"crf": str(CRF), "preset": PRESET, "bf": "0", "x264-params": "threads=1:open-gop=0"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = fps
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def decode(data: bytes, wanted: Iterable[int], name: str) -> list[tuple[Pixels, float]]:
    """Decode the frames with the given indices: pixels [H, W, 3] and presentation times in seconds, in order.

    Decodes from the start, which was several times faster than seeking to each frame.
    """
    indices: Sequence[int] = sorted(set(wanted))
    found: list[tuple[Pixels, float]] = []
    try:
        with av.open(io.BytesIO(data), "r") as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for index, frame in enumerate(container.decode(stream)):
                if index in indices:
                    found.append((np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8), frame.time))
                if index == indices[-1]:
                    break
    except (av.FFmpegError, IndexError) as error:
        raise MediaError(
            f"video {name} cannot be decoded ({error}); delete it so that it is made again"
        ) from error
    if len(found) < len(indices):
        raise MediaError(
            f"video {name} has too few frames for frame {indices[-1]}; delete it so that it is made again"
        )
    return found
