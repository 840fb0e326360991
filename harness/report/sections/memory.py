"""Counted memory: by kind of tensor, by frames, its laws beside what is declared, and what fits on a card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.budget import usable_bytes
from harness.counting.records import CountRecord
from harness.report.advice import CARDS
from harness.report.counted import Peaks, Scene, memory_crossings, scenes, video_peaks
from harness.report.document import Block, Cell, Column, Figure, Section, Source, Table, Text, cell
from harness.report.evidence import Evidence
from harness.report.labels import resolution_label
from harness.report.made import made
from harness.report.orders import Declared, declared_orders
from harness.report.plots import memory_by_kind
from harness.report.plots.memory import KINDS
from harness.report.sections import budgets
from harness.report.sections.beside_cells import beside_cells
from harness.report.sections.task import Setting
from harness.report.sources import counted_source
from harness.report.text import NO_DATA, number
from harness.scaling import Fit, Order, frames_that_fit
from harness.units import bytes_text

HOW_COUNTED = (
    "Counted peaks are those of the method's own code on tensors that have shapes and no storage: every "
    "tensor from the operator that makes it until nothing holds it. They are the same on every machine, and "
    "they are no measurement: scratch memory inside kernels, workspaces and fragmentation are not in them. A "
    "cell's peak, in the tasks' sections, is measured while real weights answer real questions, by counting "
    "live tensors on a CPU or by the allocator on a GPU, and never stands in these tables."
)


def section(evidence: Evidence, settings: Sequence[Setting]) -> Section | None:
    """One part per scene; None for a run without counted scenarios."""
    if not evidence.counted:
        return None
    found = scenes(evidence.counted, evidence.defaults)
    orders = declared_orders(evidence.counted)
    parts = []
    for number_, scene in enumerate(found, 1):
        blocks = _scene(scene, f"memory_{number_}", orders, evidence)
        parts.append(Section(title=scene.setting, blocks=tuple(blocks), folded=number_ > 1))
    parts += _budgets(found, settings, evidence)
    measured = made("the table of cells beside scenarios", beside_cells, evidence)
    if measured is not None:
        parts.append(Section(title="Cells beside scenarios", blocks=(measured,)))
    return Section(title="Memory", blocks=(Text(HOW_COUNTED),), parts=tuple(parts))


def _scene(scene: Scene, stem: str, orders: Sequence[Declared], evidence: Evidence) -> list[Block]:
    sizes = [scene.at(size) for size in scene.sizes()]
    main = max(sizes, key=lambda peaks: len(peaks.frames))
    blocks: list[Block] = []
    if not main.peaks:
        return [Text("None of these scenarios could be counted; Provenance says why.")]
    source, here = counted_source(evidence, scene.records), budgets.source(main, evidence)
    if len(main.frames) > 1:
        records = [one for one in scene.records if (one.key.height, one.key.width) == main.size]
        blocks.append(made("the figure of kinds", _figure, records, main, f"{stem}_kinds", here, evidence))
    blocks.append(made("the table of peaks", _by_frames, main, f"{stem}_peaks", here))
    blocks.append(made("the table of kinds", _by_kind, main, f"{stem}_at_peak", evidence))
    if len(sizes) > 1:
        blocks.append(made("the table by pixels", _by_pixels, sizes, f"{stem}_pixels", evidence))
    mine = [one for one in orders if _belongs(one, scene)]
    if mine:
        blocks.append(made("the table of laws", _laws, mine, scene, f"{stem}_laws", source))
    if scene.on_card and any(one.growth.axis == "frames" for one in mine):
        blocks.append(made("the table of capacity", _capacity, mine, scene, f"{stem}_capacity", source))
    crossings = made("the table of crossings", _crossings, main, f"{stem}_crossings", here)
    return blocks if crossings is None else [*blocks, crossings]


def _figure(
    records: Sequence[CountRecord], peaks: Peaks, name: str, source: Source, evidence: Evidence
) -> Figure:
    return Figure(
        name=name,
        caption=f"Counted memory at the peak by kind of tensor, {peaks.pixels} pixels",
        plot=memory_by_kind(records, evidence.defaults),
        source=source,
    )


def _crossings(peaks: Peaks, name: str, source: Source) -> Table | None:
    crossings = memory_crossings(peaks)
    if not crossings:
        return None
    return Table(
        name=name,
        caption=f"Pairs of methods whose peaks cross, {peaks.pixels} pixels.",
        columns=(
            Column("needs less first", numeric=False),
            Column("needs less later", numeric=False),
            *(Column(title) for title in ("up to frames", "from frames", "equal at about")),
        ),
        rows=tuple(
            (
                cell(one.first),
                cell(one.second),
                cell(f"{one.until:,}", one.until),
                cell(f"{one.since:,}", one.since),
                cell(f"{one.about:,.0f}", one.about),
            )
            for one in crossings
        ),
        source=source,
    )


def _by_frames(peaks: Peaks, name: str, source: Source) -> Table:
    rows = {
        label: [_parameters(peaks, label), *(_peak(peaks, label, frames) for frames in peaks.frames)]
        for label in peaks.scene.methods
    }
    return Table(
        name=name,
        caption=f"Counted peak by frames, {peaks.pixels} pixels.",
        columns=(
            Column("method", numeric=False),
            Column("parameters"),
            *(Column(f"{frames:,}") for frames in peaks.frames),
        ),
        rows=tuple((cell(label), *cells) for label, cells in rows.items()),
        methods=tuple(rows),
        source=source,
    )


def _parameters(peaks: Peaks, label: str) -> Cell:
    """Of the counted model; methods add what they need to the backbone."""
    counts = {peak.parameters for peak in peaks.peaks.get(label, {}).values()}
    return cell(f"{max(counts):,}", max(counts)) if counts else cell(NO_DATA)


def _peak(peaks: Peaks, label: str, frames: int) -> Cell:
    if frames in peaks.peaks.get(label, {}):
        amount = peaks.peaks[label][frames].peak_bytes
        return cell(bytes_text(amount), amount)
    return cell("not counted" if frames in peaks.missing.get(label, {}) else NO_DATA)


def _by_kind(peaks: Peaks, name: str, evidence: Evidence) -> Table:
    """At the most frames at which each method was counted."""
    last = {label: max(by_frames) for label, by_frames in peaks.peaks.items()}
    shown = {label: peaks.peaks[label][frames] for label, frames in last.items()}
    kinds = [kind for kind in KINDS if any(peak.at_peak.get(kind) for peak in shown.values())]
    kinds += sorted(
        {kind for peak in shown.values() for kind, size in peak.at_peak.items() if size} - {*KINDS}
    )
    return Table(
        name=name,
        caption=f"What is alive at the peak, at the most frames counted, {peaks.pixels} pixels.",
        columns=(
            Column("method", numeric=False),
            Column("frames"),
            Column("phase", numeric=False),
            Column("peak"),
            *(Column(kind.replace("_", " ")) for kind in kinds),
            Column("KV tokens"),
        ),
        rows=tuple(
            (
                cell(label),
                cell(f"{last[label]:,}", last[label]),
                cell(peak.phase),
                _bytes(peak.peak_bytes),
                *(_bytes(peak.at_peak.get(kind, 0)) for kind in kinds),
                cell(f"{peak.kv_tokens:,}", peak.kv_tokens) if peak.state_bytes else cell(NO_DATA),
            )
            for label, peak in shown.items()
        ),
        methods=tuple(shown),
        source=counted_source(
            evidence,
            [
                record
                for record, label in zip(peaks.scene.records, peaks.scene.labels, strict=True)
                if (record.key.height, record.key.width) == peaks.size
                and record.key.frames == last.get(label)
            ],
        ),
    )


def _by_pixels(sizes: Sequence[Peaks], name: str, evidence: Evidence) -> Table:
    """At the number of frames that the most resolutions share."""
    counts = {frames for peaks in sizes for frames in peaks.frames}
    frames = max(counts, key=lambda count: (sum(count in peaks.frames for peaks in sizes), count))
    shown = [peaks for peaks in sizes if frames in peaks.frames]
    methods = shown[0].scene.methods
    return Table(
        name=name,
        caption=f"Counted peak by resolution in pixels, {frames:,} frames.",
        columns=(Column("method", numeric=False), *(Column(peaks.pixels) for peaks in shown)),
        rows=tuple((cell(label), *(_peak(peaks, label, frames) for peaks in shown)) for label in methods),
        methods=tuple(methods),
        source=counted_source(
            evidence, [record for record in shown[0].scene.records if record.key.frames == frames]
        ),
    )


def _laws(orders: Sequence[Declared], scene: Scene, name: str, source: Source) -> Table:
    labels = _labels(scene)
    methods = [labels[one.growth.key.digest] for one in orders]
    return Table(
        name=name,
        caption="How the counted peak grows: the order that is declared, the one that is measured from "
        "increments with its range by the allocator's rounding, and the law.",
        columns=(
            Column("method", numeric=False),
            Column("over", numeric=False),
            Column("declared"),
            Column("measured"),
            Column("holds", numeric=False),
            Column("law", numeric=False),
        ),
        rows=tuple((cell(label), *_law(one)) for label, one in zip(methods, orders, strict=True)),
        methods=tuple(methods),
        source=source,
    )


def _law(one: Declared) -> tuple[Cell, ...]:
    growth, check = one.growth, one.check
    key, first, last = growth.key, growth.points[0].size, growth.points[-1].size
    if growth.axis == "frames":
        over = f"{first:,} to {last:,} frames, {resolution_label(key.height, key.width)} pixels"
    else:
        over = f"{first:,} to {last:,} pixels in all, {key.frames:,} frames"
    order = growth.order
    value = None if order is None else order.value
    allowed = None if check is None else check.allowed
    return (
        cell(over, last),
        cell(NO_DATA if allowed is None else f"{allowed:g}", allowed),
        cell(NO_DATA if value is None else f"{value:.2f}{_range(order)}", value),
        cell(_holds(one)),
        cell(growth.law),
    )


def _range(order: Order | None) -> str:
    """How far the allocator's rounding may have moved an order, where that can be seen."""
    if order is None or order.low is None or order.high is None or f"{order.low:.2f}" == f"{order.high:.2f}":
        return ""
    return f" ({order.low:.2f} to {order.high:.2f})"


def _holds(one: Declared) -> str:
    if one.check is None:
        return NO_DATA
    return "no" if one.check.failed else "within rounding" if one.within_rounding else "yes"


def _capacity(orders: Sequence[Declared], scene: Scene, name: str, source: Source) -> Table:
    labels = _labels(scene)
    growths = [one.growth for one in orders if one.growth.axis == "frames"]
    methods = [labels[growth.key.digest] for growth in growths]
    sizes = [resolution_label(growth.key.height, growth.key.width) for growth in growths]
    return Table(
        name=name,
        caption=(
            f"How many frames fit, with {budgets.KEPT_FREE} kept free, by the counted peaks and their law: "
            "on the line between two counted sizes, or (law) beyond the last. harness plan counts exactly."
        ),
        columns=(
            Column("method", numeric=False),
            Column("pixels"),
            *(Column(f"{card} GB") for card in CARDS),
        ),
        rows=tuple(
            (
                cell(label),
                cell(size),
                *(_fit(frames_that_fit(growth, usable_bytes(f"{card}GB"))) for card in CARDS),
            )
            for label, size, growth in zip(methods, sizes, growths, strict=True)
        ),
        methods=tuple(methods),
        source=source,
    )


def _fit(fit: Fit) -> Cell:
    amount = number(fit.frames, 3) if fit.how in ("between", "beyond") else f"{fit.frames:,}"
    texts = {
        "none": "none" if fit.frames == 1 else f"fewer than {amount}",
        "between": f"about {amount}",
        "beyond": f"about {amount} (law)",
        "any": "any number",
        "at least": f"{amount} or more",
    }
    keys = {"none": 0.0, "any": float("inf")}
    return cell(texts[fit.how], keys.get(fit.how, float(fit.frames)))


def _budgets(found: Sequence[Scene], settings: Sequence[Setting], evidence: Evidence) -> list[Section]:
    """The tables of advice for the backbones that the summary leaves out."""
    ranks = budgets.ranked(settings)
    blocks = [
        made(
            "the table of a budget",
            budgets.table,
            peaks,
            ranks[0] if ranks else None,
            evidence,
            f"budget_{mode}_{index}",
        )
        for mode in ("prefill", "stream")
        for index, peaks in enumerate(video_peaks(found, mode)[1:], 2)
    ]
    return (
        [Section(title="Which method for which budget: other backbones", blocks=tuple(blocks))]
        if blocks
        else []
    )


def _belongs(one: Declared, scene: Scene) -> bool:
    return one.growth.key.digest in {record.key.digest for record in scene.records}


def _labels(scene: Scene) -> Mapping[str, str]:
    return {record.key.digest: label for record, label in zip(scene.records, scene.labels, strict=True)}


def _bytes(amount: int) -> Cell:
    return cell(bytes_text(amount) if amount else "0", amount)
