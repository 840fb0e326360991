"""Models and tasks in one table: rows, columns, what a cell says, and where it comes from."""

from __future__ import annotations

import re
from typing import Any

from harness.records import Record
from harness.report.sections.models import SEVERAL_BACKBONES, section
from harness.report.sections.summary import section as summary
from harness.report.sections.task import section as task_section
from harness.report.sections.task import setting_list
from tests.measured import memory_of
from tests.report import synthetic as s
from tests.report.made import body, evidence, said, table

OURS = {"backbone": "tiny"}
CHARTS = {"task": "lmms:charts", "task_config": {"fingerprint": "a"}}


def published(name: str, **changes: Any) -> Record:
    config = {"checkpoint": name, "times": "own", "choices": True}
    values = {"backbone": f"{name}@0123abcd", "weights": "1" * 16} | changes
    return s.record(s.key("published", method_config=config, **values))


def several() -> list[Record]:
    records = [
        s.record(s.key(method, frames=frames, seed=seed, **OURS, **task))
        for method in ("casa", "token_insertion")
        for frames in (1, 4)
        for seed in (0, 1)
        for task in ({}, CHARTS)
    ]
    records += [published("small", frames=frames, **task) for frames in (1, 4) for task in ({}, CHARTS)]
    records += [published("large", frames=4, weights="random", **CHARTS)]
    return records


def test_rows_are_models_and_columns_are_tasks() -> None:
    found = table(section(evidence(several())), "models")
    titles = [column.title for column in found.columns]
    assert titles == [
        "model", "backbone", "weights", "peak MiB", "first token ms", "lmms:charts", "videoqa"
    ]  # fmt: skip
    rows = [row[:3] for row in body(found)]
    assert rows == [
        ["token_insertion", "tiny", "trained"],
        ["casa", "tiny", "trained"],
        ["large", "large@0123abcd", "random"],
        ["small", "small@0123abcd", "published"],
    ]
    assert "4 frames, 64 pixels" in found.caption


def test_a_cell_is_an_accuracy_with_interval_and_questions_or_no_data() -> None:
    found = table(section(evidence(several())), "models")
    (large,) = [row for row in found.rows if row[0].text == "large"]
    charts, videoqa = large[5:]
    measures = s.measures(s.key("published", frames=4))
    assert measures.accuracy is not None
    questions = measures.accuracy.scored + measures.accuracy.unparsed
    assert charts.text.endswith(f"], n {questions:,}")
    assert charts.key is not None
    assert videoqa.text == "\N{EN DASH}"
    assert videoqa.key is None


def test_the_cost_is_from_the_least_to_the_most_over_the_tasks() -> None:
    records = [s.record(s.key("casa", **OURS)), s.record(s.key("casa", **OURS, **CHARTS))]
    outcome = records[1].outcome
    assert outcome.kind == "ok"
    memory = memory_of(outcome.measures).model_copy(update={"peak_bytes": 512 * 2**20})
    measures = outcome.measures.model_copy(update={"memory": memory})
    records[1] = records[1].model_copy(update={"outcome": outcome.model_copy(update={"measures": measures})})
    (row,) = table(section(evidence(records)), "models").rows
    assert row[3].text.endswith(" to 512")
    assert row[3].key == 512.0
    assert " to " not in row[4].text


def test_every_size_is_in_the_second_table() -> None:
    found = table(section(evidence(several())), "models_everywhere")
    sizes = [(row[0], row[3], row[4]) for row in body(found)]
    assert sizes.count(("casa", "1", "64")) == sizes.count(("small", "4", "64")) == 1
    assert ("large", "1", "64") not in sizes


def test_random_weights_and_several_backbones_are_said() -> None:
    text = said(section(evidence(several())))
    assert "Models of random weights are marked as random." in text
    assert "An order between them is none of fusion methods." in text
    trained = [record for record in several() if record.key.weights != "random"]
    assert "marked as random" not in said(section(evidence(trained)))


def test_failed_and_skipped_cells_say_so() -> None:
    records = [
        s.record(s.key("casa", **OURS)),
        s.record(s.key("casa", **OURS, **CHARTS), s.failed("out_of_memory")),
    ]
    (row,) = table(section(evidence(records)), "models").rows
    assert row[5].text == "failed: out of memory"


def test_tasks_and_models_that_differ_in_a_setting_are_told_apart() -> None:
    records = [
        s.record(s.key("casa", backbone="tiny", limit=limit, dtype=dtype))
        for limit, dtype in ((None, "float32"), (5, "float32"), (None, "bfloat16"))
    ]
    records.append(s.record(s.key("casa", backbone="other")))
    found = table(section(evidence(records)), "models")
    titles = [column.title for column in found.columns]
    assert {"videoqa (limit all)", "videoqa (limit 5)"} < set(titles)
    assert {"casa (dtype float32)", "casa (dtype bfloat16)"} == {row[0] for row in body(found)}


def test_one_task_on_one_backbone_needs_no_such_table() -> None:
    assert section(evidence([s.record(s.key("casa", frames=frames)) for frames in (1, 2)])) is None
    assert section(evidence([])) is None


def test_the_command_lists_and_measures_what_is_shown() -> None:
    found = table(section(evidence(several())), "models")
    (listing,) = found.source.records
    assert "--frames 4" in listing
    assert len(found.source.measure) == 2
    trained, random = found.source.measure
    assert "--backbone tiny,small@0123abcd" in trained
    assert "--weights random" in random


def test_published_models_of_a_task_share_a_section_and_titles_name_the_backbone() -> None:
    found = setting_list(evidence(several()))
    assert [one.title for one in found] == [
        "lmms:charts on tiny",
        "lmms:charts with published models",
        "videoqa on tiny",
        "videoqa with published models",
    ]
    assert [one.stem for one in found][:2] == ["lmms_charts_on_tiny", "lmms_charts_with_published_models"]
    charts = found[1]
    assert list(charts.points["method"].unique()) == ["large", "small"]
    assert set(charts.cells["backbone"]) == {"large@0123abcd", "small@0123abcd"}
    text = said(task_section(charts, evidence(several())))
    assert "backbone large@0123abcd and small@0123abcd" in text
    assert SEVERAL_BACKBONES in text
    assert "(+0.0 %)" not in text
    alone = setting_list(evidence([published("small"), published("small", **CHARTS)]))
    assert [one.title for one in alone] == ["lmms:charts", "videoqa"]


def test_published_models_of_one_name_stay_apart() -> None:
    records = [published("small"), published("small", backbone="small@ffff0000")]
    (setting,) = setting_list(evidence(records))
    assert list(setting.points["method"]) == ["small on small@0123abcd", "small on small@ffff0000"]
    assert set(setting.points["models"]) == {1}
    assert setting.kinds is not None
    assert set(setting.kinds.low.index) == set(setting.points["method"])


def test_the_summary_takes_published_models_for_no_method() -> None:
    given = evidence(several())
    text = said(summary(given, setting_list(given)))
    assert "Measured: 2 methods on tiny, and 2 published models, large and small (" in text
    asked = re.findall(r"--methods (\S+)", text)
    named = [{method.partition(":")[0] for method in one.split(",")} for one in asked]
    assert named == [{"casa", "token_insertion"}] * len(asked)
    assert asked
    given = evidence([published("small", frames=frames) for frames in (1, 4)])
    text = said(summary(given, setting_list(given)))
    assert "Measured: 1 published model, small (" in text
    assert "trained with up to" not in text
    assert "harness bench" not in text
