"""Texts that try to be more than text, and records that hold them."""

from __future__ import annotations

from harness.records import Ok, Record, SampleOutcome, Skipped
from tests.report import synthetic as s

TEXTS = {
    "script": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "input": r"\input{/etc/passwd}\write18{touch pwned}\catcode`\%=12",
    "braces": r"}}{\end{document}{{ $x^{_ \\ % & # ~ \verb|",
    "formula": '=HYPERLINK("http://evil.example")',
    "link": "[click](javascript:alert(1)) ![p](http://evil.example/p.png) [a]: http://b",
    "fence": "``` ```` ~~~ `` | a | b |",
    "control": "a\x00b\x1b[31mred\x7f\r\n\tline\u2028two",
    "bidi": "abc\u202edcba\u2066\u200bend\ufeff",
    "letters": "\u6f22\u5b57 \U0001f600 \u0391\u03b1 e\u0301 \u00df\u0141\u017e \u2264 \u2212",
    "ligatures": "--- ,, '' ?` !` << >> -- [*]",
    "long": "w" * 10_000,
    "words": "many words " * 900,
}


def records() -> list[Record]:
    """A measured cell per text, which is also its kind and a seed's failure message, and a skipped one."""
    made = []
    for index, text in enumerate(TEXTS.values()):
        cell = s.key(f"{text}", backbone="reference", task="videoqa", method_config={"note": text[:50]})
        full = s.measures(cell)
        kinds = {text if kind == "motion" else kind: value for kind, value in full.by_kind.items()}
        made.append(s.record(cell, Ok(measures=full.model_copy(update={"by_kind": kinds}))))
        failed = s.failed("error").model_copy(update={"message": text})
        made.append(s.record(s.key(text, seed=1), failed))
        made.append(s.record(s.key(text, seed=2), Skipped(reason=text)))
        if index % 4 == 0:
            made.append(s.record(s.key(task=text), env=s.environment(cpu=text, commit=text)))
    return made


def samples(record: Record) -> list[SampleOutcome]:
    """Answers whose every text is hostile."""
    text = record.key.method
    return [
        one.model_copy(update={"sample": text + one.sample, "prediction": text, "answer": text})
        for one in s.samples(record)
    ]
