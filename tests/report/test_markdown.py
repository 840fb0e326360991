from __future__ import annotations

import html
import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.records import Ok
from harness.report.command import reproduce
from harness.report.comparisons import compare
from harness.report.document import Document, Section, Table
from harness.report.frame import kinds_to_frame, records_to_frame
from harness.report.kinds import kind_table
from harness.report.points import over_models, reference_point
from harness.report.render.markdown import render, table
from harness.report.tables import accuracy_table, cost_table, growth_table, kinds_table, overview_table
from harness.report.text import (
    NO_DATA,
    code_block,
    csv_cell,
    link_text,
    markdown,
    number,
    paragraph,
    plot,
    shortened,
)
from tests.measured import memory_of
from tests.report import synthetic as s

PARSER = MarkdownIt("commonmark").enable("table").enable("strikethrough")


def body(table: Table) -> list[list[str]]:
    """The texts of a table's rows."""
    return [[cell.text for cell in row] for row in table.rows]


@given(st.text(min_size=1) | st.text("\\`*_{}[]<>()#+-.!|~$&; a1", min_size=1))
@example("a|b")
@example("\\|")
@example("`|`")
@example("&lt;__x__&#124;")
def test_a_name_in_a_table_is_shown_as_it_is_and_stays_in_its_cell(name: str) -> None:
    rendered = PARSER.render(table(["a", "b"], [[markdown(name), "end"]], [True, True]))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", rendered, flags=re.DOTALL)
    assert len(cells) == 2
    assert " ".join(html.unescape(cells[0]).split()) == seen(name)
    assert cells[1] == "end"


def seen(name: str) -> str:
    """What a reader must see of a name: characters that hide or turn others by their number."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", name).strip()
    hidden = {0x61C, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
    hidden |= set(range(0xE0000, 0xE0080))
    return " ".join("".join(f"[U+{ord(c):04X}]" if ord(c) in hidden else c for c in line).split())


@given(st.text(min_size=1) | st.text("\\`*_{}[]<>()#+-.!|~$&:^x; a1", min_size=1))
@example("[a]: http://b")
@example("[a](http://b)")
@example("1. a")
@example("- a")
@example("---")
@example("[ ] a")
def test_a_paragraph_is_shown_as_it_is(name: str) -> None:
    rendered = PARSER.render(paragraph(name))
    shown = "".join(re.findall(r"<p>(.*)</p>", rendered, flags=re.DOTALL))
    assert " ".join(html.unescape(shown).split()) == seen(name)


@given(st.text("\\`*_[]()! a", min_size=1))
def test_the_text_of_a_link_stays_between_its_brackets(name: str) -> None:
    rendered = PARSER.render(f"[{link_text(name)}](there)")
    (text,) = re.findall(r'<a href="there">(.*)</a>', rendered, flags=re.DOTALL)
    assert " ".join(html.unescape(text).split()) == seen(name)


@given(st.lists(st.text("`~ a\n", min_size=1), min_size=1))
def test_nothing_ends_a_block_of_commands(lines: list[str]) -> None:
    tokens = PARSER.parse(code_block(lines, "console"))
    assert [token.type for token in tokens] == ["fence"]
    assert tokens[0].content.split("\n")[:-1] == [re.sub("\n+", " ", line).strip() for line in lines]


def test_an_interval_is_readable_as_text() -> None:
    assert markdown("0.65 [0.63, 0.66]") == "0.65 [0.63, 0.66]"
    assert markdown("[x](y)") == r"\[x\](y)"


def test_a_long_text_is_shortened_and_says_by_how_much() -> None:
    assert shortened("a" * 10_000).endswith("a … (9,600 more characters)")
    assert shortened("a b", 3) == "a b"


def test_a_name_can_bring_no_html_and_no_link() -> None:
    rendered = PARSER.render(markdown("<script>x</script> [a](http://b) ![i](c) **bold** `c` &lt; _e_"))
    assert re.findall(r"<(?!/?p>)", rendered) == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, NO_DATA),
        (math.nan, NO_DATA),
        (math.inf, NO_DATA),
        (0.0, "0"),
        (0.99996, "1.00"),
        (0.01234, "0.0123"),
        (999.7, "1,000"),
        (123456.0, "123,000"),
    ],
)
def test_numbers(value: float | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "\tx", "\uff1d1"])
def test_text_that_a_spreadsheet_would_run_is_made_harmless(text: str) -> None:
    assert csv_cell(text) == "'" + text
    assert csv_cell(-1.5) == -1.5
    assert csv_cell("a=b") == "a=b"


def test_figure_text_has_no_mathematics_no_unknown_glyph_and_an_end() -> None:
    assert plot("a$b") == r"a\$b"
    assert plot("\u6f22") == "\N{WHITE SQUARE}"
    assert len(plot("x" * 500)) == 48


def test_accuracy_table_shows_intervals_spread_and_levels() -> None:
    rows = body(accuracy_table(over_models(records_to_frame(s.run())), "a"))
    points = over_models(records_to_frame(s.run()))
    row = points[
        (points["method"] == "casa") & (points["frames"] == 8) & (points["resolution"] == "64")
    ].iloc[0]
    assert [
        "casa",
        "8",
        "64",
        f"{row['accuracy']:.2f} [{row['accuracy_low']:.2f}, {row['accuracy_high']:.2f}]",
        f"{row['accuracy_min']:.2f} to {row['accuracy_max']:.2f}",
        "320",
        "0.16",
        "0.16",
        f"{row['oracle_last_frame']:.2f}",
    ] in rows
    assert ["token_insertion", "32", "64", "failed: out of memory", *[NO_DATA] * 5] in rows
    assert [row[:3] for row in rows][:2] == [["token_insertion", "1", "32"], ["token_insertion", "2", "32"]]
    assert {row[1] for row in rows} == {"1", "2", "4", "8", "16", "32", "32 (extrapolated)"}


def test_cost_table_shows_units_quartiles_and_parameter_difference() -> None:
    cell = s.key("vanilla_ca", frames=2)
    other = s.key("token_insertion", frames=2)
    measures = s.measures(cell)
    rows = body(cost_table(over_models(records_to_frame([s.record(cell), s.record(other)])), "a"))
    (row,) = [row for row in rows if row[0] == "vanilla_ca"]
    assert row[3] == number(memory_of(measures).peak_bytes / 2**20)
    assert row[5] == number(sum(memory_of(measures).state_bytes.values()) / 1024)
    assert measures.latency.per_frame is not None
    low, high = measures.latency.per_frame.quartiles_ms
    assert row[7] == f"{number(measures.latency.per_frame.median_ms)} [{number(low)}, {number(high)}]"
    assert row[10] == "712,000 (+1.7 %)"


def test_growth_table_divides_what_is_added_by_the_frames_added() -> None:
    records = [s.record(s.key("casa", frames=frames)) for frames in (2, 4, 8)]
    (row,) = body(growth_table(over_models(records_to_frame(records)), "a"))
    few, many = (s.measures(s.key("casa", frames=frames)) for frames in (2, 8))
    state = sum(memory_of(many).state_bytes.values()) - sum(memory_of(few).state_bytes.values())
    assert state > 0
    peaks = [one.peak_bytes - one.resting_bytes for one in map(memory_of, (few, many))]
    assert row[:3] == ["casa", "64", "2 to 8"]
    assert row[3] == " to ".join(number(peak / 2**20) for peak in peaks)
    assert row[4:6] == [number(peaks[1] / peaks[0], 2), f"{state / 6:,.0f}"]
    assert body(growth_table(over_models(records_to_frame(records[:1])), "a")) == []


def test_overview_has_a_row_per_method_and_what_a_frame_adds() -> None:
    points = over_models(records_to_frame(s.run(frames=(4, 8), resolutions=(64,))))
    place = reference_point(points)
    assert place is not None
    rows = {row[0]: row for row in body(overview_table(points, place, "a"))}
    growth = {row[0]: row for row in body(growth_table(points, "a"))}
    assert set(growth) == {"vanilla_ca", "casa"}, "token_insertion ran at one number of frames only"
    assert {name: rows[name][4:6] for name in growth} == {name: row[5:7] for name, row in growth.items()}
    assert rows["token_insertion"][4:6] == [NO_DATA, NO_DATA]
    assert [column.title for column in overview_table(points, place, "a").columns][6] == "first token ms"


def test_kinds_table_has_a_row_per_kind_with_every_method_and_level() -> None:
    records = s.run(frames=(8,), resolutions=(64,))
    kinds = kind_table(kinds_to_frame(records), (8, 64, 64))
    assert kinds is not None
    rows = body(kinds_table(kinds, "a"))
    assert [row[0] for row in rows] == list(s.KINDS)
    assert rows[0][-3:] == ["1.00", "0.10", "0.10"]
    assert all(len(row) == 2 + 2 + 3 for row in rows)


def test_seeds_that_overlap_forbid_the_claim_however_small_p_is() -> None:
    records = s.run(frames=(4,), resolutions=(64,), seeds=(0, 1))
    records = [one for one in records if isinstance(one.outcome, Ok)]
    cells = records_to_frame(records)
    (pair,) = compare(cells, {one.key.digest: s.samples(one) for one in records})
    assert pair.borne
    overlapping = cells.assign(accuracy=[0.9, 0.1, 0.5, 0.5])
    (pair,) = compare(overlapping, {one.key.digest: s.samples(one) for one in records})
    assert pair.adjusted_p < 0.05
    assert not pair.borne


def test_comparison_uses_common_questions_and_counts_unparsed_as_wrong() -> None:
    records = [s.record(s.key(name, seed=seed)) for name in ("one", "two") for seed in (0, 1)]
    answers = {record.key.digest: s.samples(record)[:8] for record in records}
    right = {"status": "scored", "value": 1.0}
    for record in records:
        change = right if record.key.method == "one" else {"status": "unparsed", "value": None}
        digest = record.key.digest
        answers[digest] = [one.model_copy(update=change) for one in answers[digest]]
    missing = records[0].key.digest
    answers[missing][0] = answers[missing][0].model_copy(update={"status": "error", "value": None})
    (pair,) = compare(records_to_frame(records), answers)
    assert (pair.better, pair.worse, pair.questions) == ("one", "two", 7)
    assert pair.difference.mean == 1.0


def test_the_command_measures_the_same_cells_again() -> None:
    records = [
        s.record(s.key("casa", frames=frames, method_config={"gists": 2, "note": "a,b+c"}, limit=5))
        for frames in (8, 1)
    ]
    records.append(s.record(s.key("vanilla_ca", height=32, limit=5, weights="random")))
    first, second = reproduce(records)
    assert "--task videoqa --methods casa:gists=2+note=a,,b++c --frames 1,8 --resolution 64 --seed 0" in first
    assert "--limit 5" in first
    assert "--threads 2" in first
    assert "--methods vanilla_ca --frames 8 --resolution 32x64" in second
    assert "--weights random" in second


def test_contents_lead_to_the_sections_by_the_anchors_of_their_headings() -> None:
    parts = (Section(title="Memory"), Section(title="a_b: c"))
    sections = (Section(title="Summary", parts=parts), Section(title="Memory"), Section(title="a_b: c"))
    line = render(Document(title="Report", sections=sections)).split("\n\n")[1]
    assert line == "[Summary](#summary) · [Memory](#memory-1) · [a_b: c](#a_b-c-1)"
    assert "](#" not in render(Document(title="Report", sections=sections[:1]))
