"""The JSON Schema that editors use: shipped beside the starter policies, and no stricter than the reader."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from recovery_engine import json_schema, shipped_policies

POLICIES = Path(__file__).parent.parent / "policies"


def problems(policy: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(json_schema()).iter_errors(policy)]


def as_an_editor_reads_it(path: Path) -> Any:
    """YAML as editors read it: numbers and flags are typed, days stay text."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)


def test_it_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_the_shipped_file_is_the_schema_of_this_version() -> None:
    shipped = (POLICIES / "recovery-policy.schema.json").read_text(encoding="utf-8")
    assert json.loads(shipped) == json_schema(), (
        "write it again: recovery schema --output policies/recovery-policy.schema.json"
    )


@pytest.mark.parametrize("name", shipped_policies())
def test_every_starter_policy_is_valid_by_it(name: str) -> None:
    assert problems(as_an_editor_reads_it(shipped_policies()[name])) == []


def test_an_editor_underlines_what_the_reader_refuses() -> None:
    classic = as_an_editor_reads_it(shipped_policies()["classic"])
    assert problems(classic | {"colour": "blue"})
    assert problems(classic | {"ladder": "manager"})
    assert problems(classic | {"ceilings": [{"id": "half", "percnt": 50}]})
    assert problems({name: value for name, value in classic.items() if name != "currency"})
