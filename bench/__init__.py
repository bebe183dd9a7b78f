"""Repeatable measurements: run them as modules, ``python -m bench.NAME``. Not part of the installed package."""
