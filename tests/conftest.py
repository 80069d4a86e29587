"""What the tests counted, printed at the end of a run."""

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    counted = [
        text
        for report in terminalreporter.stats.get("passed", [])
        for name, text in report.user_properties
        if name == "cells" and report.when == "call"
    ]
    if counted:
        terminalreporter.section("cells on which the two matchers agree")
        terminalreporter.write_line("\n".join(sorted(counted)))
