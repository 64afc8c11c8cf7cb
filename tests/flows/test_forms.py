from typing import Any

import pytest
from prefect import Flow
from prefect.utilities.callables import parameter_schema

from flows.encode import encode
from flows.neighbors import neighbors
from flows.retrain import retrain
from flows.sweep import sweep

FLOWS: list[Flow[..., Any]] = [retrain, encode, sweep, neighbors]


def texts(schema: Any, key: str) -> list[str]:
    """All titles, or all descriptions, in a part of a schema."""
    if isinstance(schema, list):
        return [text for part in schema for text in texts(part, key)]
    if not isinstance(schema, dict):
        return []
    own = [schema[key]] if isinstance(schema.get(key), str) else []
    return own + [text for part in schema.values() for text in texts(part, key)]


def test_what_people_want_first_comes_first() -> None:
    groups = sorted(
        parameter_schema(retrain).properties.values(), key=lambda group: group["position"]
    )
    assert [group["title"] for group in groups] == [
        "What to do",
        "Models",
        "Training",
        "Images",
        "Quality gate",
    ]
    first = parameter_schema(retrain).definitions["RunParameters"]["properties"]
    assert list(first)[:3] == ["quick", "retrain", "publish_anyway"]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_a_form_is_in_plain_words(flow: Flow[..., Any]) -> None:
    schema = parameter_schema(flow)
    parts = [schema.properties, schema.definitions]
    for title in texts(parts, "title"):
        assert title[0].isupper(), title
    for description in texts(parts, "description"):
        assert not {"`", "["} & set(description), description
