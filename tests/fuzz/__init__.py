"""Fuzzes every reader of model files: `python -m tests.fuzz`, or `make fuzz`.

Valid files are made in code (`seeds.py`), changed by their structure and byte by byte (`mutation.py`), with coverage as
the guide where atheris is installed, and read (`readers.py`) in a child process (`child.py`) which `__main__.py` watches.
A finding is an exception that is none of the package's own errors, a hang, memory beyond the limit, a crash of the
process, or a file, program or address outside of the work folder that was opened. `record.py` keeps the counts.
"""
