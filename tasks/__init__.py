"""Tasks: one file per task, imported as ``harness.tasks``."""

if __name__ != "harness.tasks":
    raise ImportError(
        f"this folder was imported as {__name__!r}; import it as 'harness.tasks', "
        "otherwise every task would be registered twice"
    )
