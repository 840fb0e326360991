"""From records to a report: tidy frames, figures, Markdown and CSV.

``harness.report.build.build_report`` writes a report; the modules beside it are pure functions over frames.
Nothing is imported here, so that ``import harness.report`` stays cheap.
"""
