"""The command `vpr`: parse, call, print; no thinking."""
