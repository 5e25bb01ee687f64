"""One Keras backend a process: KERAS_BACKEND chooses it, torch where nothing is said."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["LEAKY_INTEROP_SANDBOX"] = "0"  # commands run in the process that looks at them; test_sandbox.py has its own

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts what runs in its background so, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Files whose tests do not come near Keras: running them on a second backend shows nothing new.
WITHOUT_KERAS = {
    "test_conformance_known", "test_conformance_oracle", "test_conformance_running", "test_conformance_runtimes",
    "test_conformance_verdicts", "test_errors", "test_files", "test_files_faults", "test_files_onnx", "test_files_pt2", "test_files_writing",
    "test_layout", "test_mutants", "test_numeric", "test_passes_fold", "test_plotting", "test_real", "test_report", "test_report_browser",
    "test_sandbox", "test_sizes", "test_spellings_texts",
}  # fmt: skip


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in WITHOUT_KERAS:
            item.add_marker(pytest.mark.one_backend)


@pytest.fixture
def mounted(tmp_path):
    """Mounts a file system of one megabyte; skips where that needs more rights."""
    made = []

    def mount(*options: str) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir(exist_ok=True)
        if subprocess.run(["mount", *options, folder], capture_output=True).returncode:
            pytest.skip("file systems cannot be mounted here")
        made.append(folder)
        return folder

    yield mount
    for folder in dict.fromkeys(made):
        subprocess.run(["umount", folder], check=True)
