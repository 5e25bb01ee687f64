"""A network as a static page: onnxruntime in WebAssembly, the picture made into numbers as Python makes it, no network."""

from .page import web

__all__ = ["web"]
