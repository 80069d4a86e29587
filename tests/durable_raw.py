"""Durable-rules as it is, in a process of its own with a time limit, and our driver beside it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from recovery_engine.rules import durable
from recovery_engine.rules.durable import Network, Rule

needs_durable = pytest.mark.skipif(not durable.AVAILABLE, reason=durable.WHY_NOT)

C_MODULE = """
import json, durable_rules_engine as d
def made(rules): return d.create_ruleset("raw", json.dumps(rules))
def one(test, **more): return {"all": [{"m": test}], **more}
def fired(handle, fact, ask=d.assert_fact):
    names = []
    _, state = ask(handle, fact if isinstance(fact, str) else json.dumps(fact))
    got = d.start_action_for_state(handle, state)
    got = got and got[1]
    while got:
        names.append(got[2 : got.index('"', 2)])
        got = d.complete_and_start_action(handle, state)
    return names
"""
PYTHON_CLASSES = """
import os, threading
from durable.lang import *
seen = []
"""
# Without os._exit, the endless timer threads of Host would still be running.
END = "\nsys.stdout.flush(); os._exit(0)"


def raw(code: str, seconds: float = 20, **environment: str) -> str:
    """What *code* prints, or its error, or how it ended."""
    try:
        ran = subprocess.run(
            [sys.executable, "-c", "import os, sys\n" + code],
            capture_output=True,
            text=True,
            timeout=seconds,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    if ran.returncode < 0:
        return "crashes"
    return (ran.stdout if ran.returncode == 0 else ran.stderr.splitlines()[-1]).strip()


def c_module(code: str, seconds: float = 20, **environment: str) -> str:
    return raw(C_MODULE + code, seconds, **environment)


def driver(code: str, seconds: float = 20, **environment: str) -> str:
    return raw("from recovery_engine.rules.durable import *\n" + code, seconds, **environment)


def python_classes(code: str) -> str:
    return raw(PYTHON_CLASSES + code + END)


@contextmanager
def network(*rules: Rule) -> Iterator[Network]:
    made = Network(rules)
    yield made
    made.close()


def all_of(*tests: Any) -> Any:
    return ("and", *tests)


BILL = Rule("bill", ("==", "bill", 1))
