"""What every suite shares: its order, its time-out, the table of seconds, and how chance is kept repeatable.

Law: in CI nothing is left out (a skipped test is a failure), and nothing is random unless a seed is asked for (Hypothesis
derives its examples from the test itself). Warnings are errors everywhere (pyproject.toml).
"""

import collections
import os
import pathlib
import shutil
import signal
from collections.abc import Generator

import hypothesis
import pytest
from xdist import scheduler

SUITE_TIMEOUT_S = {
    "unit": 60,
    "properties": 120,
    "scenarios": 60,
    "contracts": 120,
    "tidy": 120,
    "security": 120,
    "simulation": 300,
    "integration": 180,
}
"""Seconds after which a test of a suite is taken to hang, on the busiest machine; in the order in which the suites run."""

MACHINE = "integration"
FREE = (
    "test_api_",
    "test_cli_",
    "test_etcd_api",
    "test_etcd_faults",
    "test_etcd_gateway",
    "test_etcd_nemesis",
    "test_hop_link",
    "test_launcher",
    "test_local_watch",
    "test_process_role",
    "test_store_group",
    "test_store_nemesis",
)
"""Of its files those that take whatever port is free, or an address that no other has, and so may run beside the others."""
IN_CI = bool(os.environ.get("CI"))
SEED = 1

# No deadline and no slowness check: both measure the machine, and two shared cores are noisy.
hypothesis.settings.register_profile(
    "same",
    derandomize=True,
    max_examples=100,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "other", hypothesis.settings.get_profile("same"), derandomize=False, print_blob=True
)
hypothesis.settings.load_profile("same")


def suite_of(nodeid: str) -> str:
    """The folder below tests/ that a test stands in."""
    parts = pathlib.PurePosixPath(nodeid.partition("::")[0]).parts
    return parts[1] if len(parts) > 2 else ""


def place_of(nodeid: str) -> str:
    """What must run one after the other: tests of one file, and all that take fixed addresses of this machine."""
    file = nodeid.partition("::")[0]
    free = pathlib.PurePosixPath(file).name.startswith(FREE)
    return MACHINE if suite_of(nodeid) == MACHINE and not free else file


class SuiteTable:
    """Tests and seconds of each suite, printed right before pytest's closing line.

    Where two workers run them, the suites' seconds overlap: together they are more than the closing line says.
    """

    def __init__(self) -> None:
        self.tests: collections.Counter[str] = collections.Counter()
        self.seconds: collections.defaultdict[str, float] = collections.defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        suite = suite_of(report.nodeid)
        self.seconds[suite] += report.duration
        self.tests[suite] += report.when == "setup"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("seconds per suite")
        for suite in SUITE_TIMEOUT_S:
            terminalreporter.write_line(
                f"{suite:<12} {self.tests[suite]:>5} tests {self.seconds[suite]:>7.1f} s"
            )


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "of the `seed` fixture, printed at the start of every run; another than usual: other examples, too"
    parser.addoption("--seed", type=int, default=SEED, help=told)


def pytest_configure(config: pytest.Config) -> None:
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # a shell does that to what it runs in the background
        signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # and whatever a test starts would inherit it
    if config.option.seed != SEED:
        hypothesis.settings.load_profile("other")
    config.pluginmanager.register(SuiteTable())


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.option.seed} (again with --seed {config.option.seed})"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Of two workers: the largest piece of work begins first. Xdist's own groups do nothing under this pytest."""
    made = scheduler.LoadScopeScheduling(config, log)
    made._split_scope = place_of
    return made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = list(SUITE_TIMEOUT_S)
    for item in items:
        suite = suite_of(item.nodeid)
        if suite not in order:
            message = f"{item.nodeid} stands in no suite (have {', '.join(order)})"
            raise pytest.UsageError(message)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SUITE_TIMEOUT_S[suite]))
        if item.get_closest_marker("root") is not None and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip("needs root"))
        if item.get_closest_marker("etcd") is not None and shutil.which("etcd") is None:
            item.add_marker(pytest.mark.skip("needs Debian's etcd-server"))
    items.sort(key=lambda item: order.index(suite_of(item.nodeid)))


def count_skip_as_failure(report: pytest.TestReport | pytest.CollectReport) -> None:
    """In CI only. An expected failure is reported as skipped too, and is left alone."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"left out, and in CI nothing may be: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    count_skip_as_failure(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    count_skip_as_failure(report)
    return report


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests marked `anyio` run on asyncio, as the product does."""
    return "asyncio"


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """For a test that wants one `random.Random`; a test of many seeds parametrises `seed` itself."""
    return int(pytestconfig.option.seed)
