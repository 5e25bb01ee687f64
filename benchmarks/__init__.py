"""Measures conversions against what a user would pick instead.

`python -m benchmarks` writes results.md and results.json beside this file. Every measurement runs in a process of its
own with its frameworks already imported; every peer lives in an environment of its own in a cache folder, made on
demand. A peer that cannot be had, or fails, is reported with the reason, never left out. Nothing of `leaky_interop`
depends on this folder.
"""
