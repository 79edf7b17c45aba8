"""Sessions in other formats, one file per format: ATIF, OpenTelemetry's GenAI spans, JSON lines.

Each module has pure functions over rows, and `stream(session)`, which asks for the rows and yields the document in
pieces, so that a long session needs no more memory than a short one.
"""
