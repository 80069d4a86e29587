"""The results of embedded tests as JUnit XML, which every CI system reads."""

from collections.abc import Iterable
from xml.etree import ElementTree

from recovery_cli.files import write_text
from recovery_cli.policy_files import Checked
from recovery_cli.render import plain
from recovery_engine import ExampleResult


def write_junit(path: str, tested: Iterable[Checked]) -> None:
    """Write one test suite for each policy. Raises Unusable or CannotWrite."""
    suites = ElementTree.Element("testsuites")
    for checked in tested:
        suites.append(_suite(checked))
    write_text(path, ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n")


def _suite(checked: Checked) -> ElementTree.Element:
    failures = sum(not result.passed for result in checked.results)
    broken = checked.policy is None
    counts = {"tests": str(len(checked.results) + broken), "failures": str(failures), "errors": str(int(broken))}
    suite = ElementTree.Element("testsuite", {"name": checked.name, **counts})
    for result in checked.results:
        case = ElementTree.SubElement(suite, "testcase", {"name": plain(result.name), "classname": checked.name})
        if not result.passed:
            ElementTree.SubElement(case, "failure", {"message": plain(_why(result))}).text = plain(result.where)
    if broken:
        case = ElementTree.SubElement(suite, "testcase", {"name": "the policy can be read", "classname": checked.name})
        message = "\n".join(str(diagnostic) for diagnostic in checked.diagnostics)
        ElementTree.SubElement(case, "error", {"message": "the policy has mistakes"}).text = plain(message)
    return suite


def _why(result: ExampleResult) -> str:
    differences = [f"{what}: expected {expected}, got {got}" for what, expected, got in result.differences]
    return "; ".join(differences + [f"{problem.where}: {problem.message}" for problem in result.problems])
