"""The same policy laid out otherwise: blocks or brackets, any indentation, quotes, line breaks, comments anywhere."""

import json
import re
from random import Random
from typing import Any

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.%/-]*( [A-Za-z0-9_.%/-]+)*")


class Untidy:
    """Writes a tree of texts, lists and mappings as YAML, as carelessly as YAML allows."""

    def __init__(self, random: Random) -> None:
        self.random, self.comments = random, 0

    def text(self, tree: dict[str, Any]) -> str:
        """The whole file."""
        head = ["---"] if self.chance(0.1) else []
        return "\n".join([*head, *self.litter(), *self.block(tree, 0), *self.litter()]) + self.pick("", "\n", "\n\n\n")

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def spaces(self, least: int = 0) -> str:
        return " " * self.pick(least, least, 1, 1, 2, 5)

    def comment(self) -> str:
        self.comments += 1
        return f"#{self.pick('', ' ', '  ')}{self.pick('why', 'a: b', '- {', chr(34), 'ü')} {self.comments}"

    def behind(self) -> str:
        """What may stand at the end of a line."""
        return f"{' ' * self.pick(1, 2, 7)}{self.comment()}" if self.chance(0.2) else self.pick("", "", "  ")

    def litter(self) -> list[str]:
        """Lines between lines."""
        if self.chance(0.7):
            return []
        made = [self.pick("", "   ", " " * self.random.randint(0, 9) + self.comment()) for _ in range(4)]
        return made[: self.random.randint(1, 4)]

    def block(self, value: Any, indent: int) -> list[str]:
        lines: list[str] = []
        for item in value.items() if isinstance(value, dict) else value:
            if isinstance(value, dict):
                key, item = item
                began = f"{self.scalar(key)}{self.pick('', '', ' ')}:"
                least = indent if isinstance(item, list) else indent + 1
            else:
                began, least = "-", indent + 1
            lines += [*self.litter(), *self.entry(" " * indent + began, item, indent, least)]
        return lines

    def entry(self, began: str, item: Any, indent: int, least: int) -> list[str]:
        """An item behind its key or dash, or below it."""
        if isinstance(item, dict | list) and self.chance(0.6):
            inner = self.pick(least, indent + 2, indent + 2, indent + 5)
            if began.endswith("-") and self.chance(0.8):  # the first line of the item stands behind the dash
                inner = len(began) + self.random.randint(1, 3)
                lines = self.block(item, inner)
                first = next(at for at, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#"))
                return [began + lines[first][len(began) :], *lines[first + 1 :]]
            return [began + self.behind(), *self.litter(), *self.block(item, inner)]
        if isinstance(item, str) and self.chance(0.1) and item.strip() == item and item.isprintable() and item:
            deep = indent + self.random.randint(1, 4)
            mark = self.pick("|-", ">-", f"|{deep - indent}-", f">{deep - indent}-")
            ends = " " * self.random.randint(0, indent) + self.comment()  # what stands further in would be text
            return [f"{began} {mark}{self.behind()}", " " * deep + item, ends]
        shown = self.flow(item, indent + 1) if isinstance(item, dict | list) else self.scalar(item, indent + 1)
        return f"{began}{self.spaces(1)}{shown}{self.behind()}".split("\n")

    def flow(self, value: Any, least: int) -> str:
        """In brackets, on one line or on several."""
        several, mapping = self.chance(0.3), isinstance(value, dict)

        def between() -> str:
            if several and self.chance(0.4):
                return "\n".join([self.behind(), *self.litter(), " " * (least + self.random.randint(0, 9))])
            return self.pick("", "", " ", "   ")

        items = []
        for item in value.items() if mapping else value:
            begun = ""
            if mapping:
                key, item = item
                begun = f"{self.scalar(key)}{self.pick('', '', ' ')}:{self.spaces(1)}"
            shown = self.flow(item, least) if isinstance(item, dict | list) else self.scalar(item, least, in_flow=True)
            items.append(f"{between()}{begun}{shown}{between()}")
        opens, closes = "{}" if mapping else "[]"
        return opens + ",".join(items) + (self.pick("", "", f",{between()}") if items else "") + closes

    def scalar(self, text: str, least: int = -1, in_flow: bool = False) -> str:
        """Plain or quoted; with *least*, over several lines that stand at least so far in."""

        def broken(shown: str) -> str:
            if least < 0 or " " not in shown or self.chance(0.8):
                return shown
            first, _, rest = shown.partition(" ")
            return f"{first}{self.pick('', '  ')}\n{' ' * (least + self.random.randint(0, 5))}{rest}"

        style = self.pick("plain", "plain", "single", "double")
        if style == "plain" and _PLAIN.fullmatch(text) and text not in ("null", "Null", "NULL"):
            return broken(text)
        if style == "double" or not text.isprintable():
            return broken(json.dumps(text, ensure_ascii=False))
        return broken("'" + text.replace("'", "''") + "'")
