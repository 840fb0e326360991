from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.build import build_report
from harness.report.document import Column, Document, Items, Section, Table, Terms, cell
from harness.report.render.latex import render
from harness.report.render.latextable import MARK, long_tables, tabular
from harness.report.render.latextext import code, latex
from harness.report.render.texts import table_csv
from harness.report.text import NO_DATA
from harness.store import Store
from tests.report import hostile
from tests.report import synthetic as s

SAFE_COMMAND = re.compile(
    r"\\(text(backslash|asciicircum|asciitilde|less|greater|bar|quotedbl|asciigrave|endash|emdash)|ldots|allowbreak)\{\}"
    r"|\\[{}$&#%_]|\$(-|\\(le|ge|approx|infty|mu))\$|\{\}"
)


def numbers(*texts: str, name: str = "t") -> Table:
    return Table(
        name=name,
        caption="A caption.",
        columns=(Column("method", numeric=False), Column("per frame ms")),
        rows=tuple((cell("a"), cell(text)) for text in texts),
    )


@given(st.text() | st.text("\\{}$&#%_^~<>|\"`'-,[]*!? ab"))
def test_no_character_of_a_text_is_a_command(text: str) -> None:
    rest = SAFE_COMMAND.sub("", latex(text))
    assert not set(rest) & set('\\{}$&#%_^<>|"`\n\r\x00')
    assert "--" not in latex(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("50 % of a_b", r"50 \% of a\_b"),
        ("--limit", "-{}-limit"),
        ("a\u6f22", "a[U+6F22]"),
        ("a\u202eb", "a[U+202E]b"),
        ("[0, 1]", "{}[0, 1]"),
        (NO_DATA, r"\textendash{}"),
        ("\u00e9\u0142", "\u00e9\u0142"),
    ],
)
def test_text_is_shown_as_it_is(text: str, shown: str) -> None:
    assert latex(text) == shown


def test_a_long_word_can_be_broken_and_a_short_one_stays() -> None:
    assert latex("no_visual_self_attention").count(r"\allowbreak{}") == 3
    assert latex("w" * 100).count(r"\allowbreak{}") == 9
    assert r"\allowbreak" not in latex("token_insertion")
    assert code("'a'") == r"\texttt{\textquotesingle{}a\textquotesingle{}}"


def test_numbers_stand_below_each_other_by_their_point() -> None:
    text = tabular(numbers("3.54 [3.41, 3.70]", "123 [119, 126]", "failed: crash", NO_DATA))
    assert text.startswith(MARK + "\n\\begin{tabular}{@{}l r@{}l@{}}\n\\toprule\n")
    assert "a & 3 & .54 [3.41,~3.70] \\\\\na & 123 & ~{}[119,~126] \\\\\n" in text
    assert r"\multicolumn{2}{r}{failed: crash} \\" in text
    assert text.endswith("\\bottomrule\n\\end{tabular}\n")


def test_numbers_of_one_shape_need_no_split_and_have_a_real_minus_sign() -> None:
    text = tabular(numbers("+0.12 [-0.01, +0.20]", "-0.12 [-0.20, -0.01]"))
    assert "{@{}l r@{}}" in text
    assert r"a & $-$0.12 [$-$0.20,~$-$0.01] \\" in text


def test_a_table_wider_than_a_page_comes_in_pieces_with_its_first_column_in_each() -> None:
    columns = (Column("kind", numeric=False), *(Column(f"method_{index}") for index in range(40)))
    row = (cell("when"), *(cell("0.65 [0.63, 0.66] seeds 0.62 to 0.67") for _ in range(40)))
    table = Table(name="wide", caption="Wide.", columns=columns, rows=(row,))
    pieces = list(long_tables(table))
    assert len(pieces) > 1
    assert all(piece.startswith(r"\begin{landscape}") and "\nwhen & " in piece for piece in pieces)
    assert sum(len(re.findall(r"0\.65 \[", piece)) for piece in pieces) == 40
    assert f"Columns, part {len(pieces)} of {len(pieces)}." in pieces[-1]


def test_a_note_stands_on_the_page_of_its_table() -> None:
    (text,) = long_tables(numbers("1"), "a note")
    assert text.endswith("a note")


def test_lists_without_items_are_left_out() -> None:
    section = Section(title="a", blocks=(Items(()), Terms(())))
    text = render(Document(title="t", sections=(section,)))
    assert "itemize" not in text
    assert "description" not in text


def test_csv_of_a_table_has_whole_texts_and_numbers() -> None:
    table = Table(
        name="t",
        caption="",
        columns=(Column("method", numeric=False), Column("difference"), Column("=n")),
        rows=(
            (cell("=1+1"), cell("-0.10 [-0.2, 0]", -0.1), cell("8", 8.0)),
            (cell("x" * 10_000), cell(""), cell("a,b")),
        ),
    )
    assert table_csv(table).splitlines() == [
        "method,difference,difference (number),'=n,'=n (number)",
        "'=1+1,\"'-0.10 [-0.2, 0]\",-0.1,8,8",
        f'{"x" * 10_000},{NO_DATA},,"a,b",',
    ]


def compiled(folder: Path, name: str = "report") -> str:
    """The log of the last of three runs: long tables find their widths in the first two."""
    command = ["pdflatex", "-halt-on-error", "-no-shell-escape", "-interaction=nonstopmode", f"{name}.tex"]
    for _ in range(3):
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    return (folder / f"{name}.log").read_text(errors="replace")


def overfull(log: str) -> list[float]:
    """What stands out of the margins, in points."""
    return [
        float(found)
        for found in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide", log)
        if float(found) > 1
    ]


@pytest.mark.latex
@pytest.mark.slow
def test_a_report_compiles_within_its_margins(tmp_path: Path) -> None:
    store = Store(tmp_path).open()
    for record in s.run(frames=(1, 4), seeds=(0, 1)):
        store.write(record, s.samples(record))
    log = compiled(build_report(tmp_path).parent)
    assert overfull(log) == []
    assert "Missing character" not in log


@pytest.mark.latex
@pytest.mark.slow
def test_a_hostile_report_compiles_and_nothing_in_it_runs(tmp_path: Path) -> None:
    store = Store(tmp_path).open()
    for record in hostile.records():
        store.write(record, hostile.samples(record))
    folder = build_report(tmp_path).parent
    log = compiled(folder)
    assert overfull(log) == []
    assert "(/etc/passwd" not in log
    assert not list(tmp_path.rglob("pwned"))
    assert "Missing character" not in log


@pytest.mark.latex
def test_every_table_can_be_put_into_a_paper(tmp_path: Path) -> None:
    tables = [numbers(*hostile.TEXTS.values(), name="evil"), numbers("3.5", "12", name="plain")]
    for table in tables:
        (tmp_path / f"{table.name}.tex").write_text(tabular(table), encoding="utf-8")
    inputs = "\n\n".join(rf"\input{{{table.name}}}" for table in tables)
    packages = "\\usepackage[T1]{fontenc}\\usepackage{array,booktabs}"
    paper = f"\\documentclass{{article}}{packages}\\begin{{document}}{inputs}\\end{{document}}"
    (tmp_path / "paper.tex").write_text(paper)
    compiled(tmp_path, "paper")
    shutil.rmtree(tmp_path)


def test_a_long_name_above_a_column_is_broken_behind_its_signs() -> None:
    name = "lmms:mvbench_action_antonym"
    table = Table(name="t", caption="A.", columns=(Column(name),), rows=((cell("0.00 [0.00, 0.66]"),),))
    head = next(line for line in tabular(table).splitlines() if "mvbench" in line)
    lines = [
        line.replace(r"\allowbreak{}", "") for line in re.findall(r"@\{\}\}(.*)\\end", head)[0].split(r"\\")
    ]
    assert "".join(lines).replace("\\_", "_") == name
    assert len(lines) > 1
    assert all(line.endswith((r"\_", ":")) for line in lines[:-1])
