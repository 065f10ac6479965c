"""YAML as a card may hold it: no tags, no anchors (they can blow up), no key twice."""

from __future__ import annotations

from typing import Any

import yaml


class YamlError(ValueError):
    """Why a text is not usable, in one line."""


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise YamlError("anchors and aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        found = super().construct_mapping(node, deep=True)
        if len(found) != len(node.value):
            raise YamlError(f"a key stands twice near line {node.start_mark.line + 1}")
        return found


def load(text: bytes | str) -> Any:
    """The dicts, lists and scalars of a YAML text.

    Raises YamlError.
    """
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise YamlError(problem + (f" (line {mark.line + 1})" if mark else "")) from None
