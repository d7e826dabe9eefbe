from __future__ import annotations

import ast

from layerlink.design.shrink.source.lines import broken, tidied


def test_long_lines_are_broken_and_say_the_same() -> None:
    line = 'self.h = nn.ModuleDict({"a, (b": nn.Linear(4, 4), "c": nn.Sequential(nn.ReLU(), nn.Linear(4, 8))})'
    parts = broken(f"    {line}", width=40)
    assert all(it.startswith("    ") for it in parts)
    assert max(map(len, parts)) <= 44
    assert ast.dump(ast.parse("\n".join(it[4:] for it in parts))) == ast.dump(ast.parse(line))
    short = "x = f(1)"
    assert broken(short) == [short]
    many = broken("x = [Block() for _ in range(3)]", width=10)
    assert ast.unparse(ast.parse("\n".join(many))) == "x = [Block() for _ in range(3)]"


def test_names_that_stand_for_a_name_are_replaced() -> None:
    text = (
        "def forward(self, x):\n    weight = self.weight\n    size = x.size()\n    first = size[0]\n"
        "    y = torch.f(x, weight = weight, shape = first).weight\n    return y\n"
    )
    expected = (
        "def forward(self, x):\n    size = x.size()\n    return torch.f(x, weight=self.weight, shape=size[0]).weight"
    )
    assert tidied(text) == expected
