"""`python -m leaky_interop` is the command line."""

from .cli import main

main()
