"""Fusion methods: one file per method, imported as ``harness.fusion_impls``."""

if __name__ != "harness.fusion_impls":
    raise ImportError(
        f"this folder was imported as {__name__!r}; import it as 'harness.fusion_impls', "
        "otherwise every method would be registered twice"
    )
