"""lmms-eval's tasks in the harness, and the harness's models in lmms-eval.

Nothing here imports lmms-eval before one of its tasks is asked for; the catalogue reads its YAML files only.
See ``docs/lmms_eval.md`` for use and ``docs/design/lmms_eval.md`` for what was decided.
"""
