"""Write docs/reference.md: what the live node hears, says and is told, as the code has it.

    python -m tools.reference

Parameters come from the dataclasses, fields from the interface files, entries and sentences of the
diagnostics from the functions that say them, arguments from the launch files. Topics and services
are listed in `channels`, and test/nodes/test_reference.py compares the list with real nodes.
"""
