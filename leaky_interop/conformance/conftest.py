"""`pytest --pyargs leaky_interop.conformance --runtime mine`: the suite as tests, for those who have pytest already."""

import functools

import pytest

from leaky_interop.conformance import environments, running


def pytest_generate_tests(metafunc):
    if "runtime" in metafunc.fixturenames:
        plans = environments.chosen(metafunc.config.getoption("--runtime", []))
        metafunc.parametrize("runtime", plans, ids=[plan.name for plan in plans])


@functools.cache
def _asked(name):
    return running.run(environments.chosen([name]))


@pytest.fixture
def record(runtime, request):
    """What asking the runtime gave; skips where it is not here and was not asked for by its name."""
    made = _asked(runtime.name)
    (about,) = made.runtimes
    if about.status == "absent" and not request.config.getoption("--runtime", []):
        pytest.skip(about.message)
    assert about.status == "ran", about.message
    return made
