"""Counted memory of a live session beside CASA's published figures, and what makes up the difference.

``python -m benchmarks.published_memory`` prints the tables of docs/published_memory.md.

The published run: 256 turns of one 896 x 896 frame (1,024 tokens) and 16 forced tokens, on one H100. Its
final numbers of KV tokens are 21 + 256 * (1024 + 18) and 21 + 256 * 18: a turn has 18 text tokens, the 16
and two that delimit, and 21 stand before the first. Here they are the start token, 20 tokens of fixed text
and 18 per frame.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness import published
from harness.counting.records import Peak
from harness.counting.run import count
from harness.counting.spec import CountSpec
from harness.spec import MethodSpec
from harness.units import bytes_text

TABLE = "casa_v2_streaming_h100"
GIB = 2**30


@dataclass(frozen=True)
class Compared:
    """One published row and its count."""

    method: str
    turns: int
    published_tokens: int
    published_gib: float
    peak: Peak

    @property
    def ratio(self) -> float:
        """Counted over published peak."""
        return self.peak.peak_bytes / GIB / self.published_gib


def compare() -> list[Compared]:
    """Every published row, counted."""
    rows, equals = [], published.equals(TABLE)
    same = equals.scenario
    assert same is not None
    for row in published.read(TABLE).to_dict("records"):
        spec = CountSpec(
            methods=(MethodSpec.parse(equals.methods[row["model"]]),),
            backbone=same["backbone"],
            modes=(same["mode"],),
            frames=(int(row["turns"]),),
            resolutions=((same["height"], same["width"]),),
            text=same["text"],
            text_per_frame=same["text_per_frame"],
            dtype=same["dtype"],
            kernels=same["kernels"],
        )
        (record,) = count(spec)
        if record.peak is None:
            raise SystemExit(f"{record.key.method} was not counted: {record.outcome}")
        rows.append(
            Compared(
                method=record.key.method,
                turns=int(row["turns"]),
                published_tokens=int(row["final_kv_tokens"]),
                published_gib=float(row["peak_gib"]),
                peak=record.peak,
            )
        )
    return rows


def tables(rows: list[Compared]) -> str:
    """Markdown: the comparison, then bytes at the peak by kind."""
    lines = [
        "| method | turns | KV tokens, published | counted | peak, published | counted | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| `{row.method}` | {row.turns} | {row.published_tokens:,} | {row.peak.kv_tokens:,} "
            f"| {row.published_gib:g} GiB | {row.peak.peak_bytes / GIB:.2f} GiB | {row.ratio:.3f} |"
        )
    kinds = sorted({kind for row in rows for kind in row.peak.at_peak})
    lines += ["", "| at the peak | " + " | ".join(f"`{row.method}`" for row in rows) + " |"]
    lines.append("|---|" + "---:|" * len(rows))
    lines.append("| phase | " + " | ".join(row.peak.phase for row in rows) + " |")
    for kind in kinds:
        cells = (bytes_text(row.peak.at_peak.get(kind, 0)) for row in rows)
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    lines.append("| together | " + " | ".join(bytes_text(row.peak.peak_bytes) for row in rows) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tables(compare()))
