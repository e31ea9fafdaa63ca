"""The code of a template, with one call for each value that it shows.

For `{{ customer.name }}` Tornado generates

    _tt_tmp = customer.name  # card.html:1
    if isinstance(_tt_tmp, _tt_string_types): _tt_tmp = _tt_utf8(_tt_tmp)  # card.html:1
    else: _tt_tmp = _tt_utf8(str(_tt_tmp))  # card.html:1
    _tt_tmp = _tt_utf8(escape(_tt_tmp))  # card.html:1
    _tt_append(_tt_tmp)  # card.html:1

and for `{% raw customer.name %}` the same without the fourth. Both become `_tt_append(NAME(customer.name))` here.
The expression keeps its line, so a fault in it has the place that Tornado notes there. Code that looks different, by
another Tornado, stays as it is: it does the same in more time.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from types import CodeType
from typing import Final

_ESCAPED: Final = """
if isinstance(_tt_tmp, _tt_string_types): _tt_tmp = _tt_utf8(_tt_tmp)
else: _tt_tmp = _tt_utf8(str(_tt_tmp))
_tt_tmp = _tt_utf8(escape(_tt_tmp))
_tt_append(_tt_tmp)
"""
_RAW: Final = """
if isinstance(_tt_tmp, _tt_string_types): _tt_tmp = _tt_utf8(_tt_tmp)
else: _tt_tmp = _tt_utf8(str(_tt_tmp))
_tt_append(_tt_tmp)
"""
_BLOCKS: Final = ("body", "orelse", "finalbody")


def _dumps(statements: list[ast.stmt]) -> tuple[str, ...]:
    return tuple(map(ast.dump, statements))


def compile_template(code: str, file: str, *, show: str, show_raw: str, parameters: Sequence[str]) -> CodeType:
    """Compile what Tornado has generated; `show` and `show_raw` are names of functions from a value to bytes.

    The function that it defines takes `parameters`, which are faster to read than names of its module. Raises
    SyntaxError for `global`: such a name would be there in the next card, with the value of another customer.
    """
    module = ast.parse(code, file)
    for node in ast.walk(module):
        if isinstance(node, ast.Global):
            line = code.splitlines()[node.lineno - 1]
            raise SyntaxError("a card cannot have global names", (file, node.lineno, node.col_offset + 1, line))
    shown = [(_dumps(ast.parse(_ESCAPED).body), show), (_dumps(ast.parse(_RAW).body), show_raw)]
    for node in ast.walk(module):
        for name in _BLOCKS:
            block = getattr(node, name, None)
            if isinstance(block, list):
                setattr(node, name, _with_calls(block, shown))
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            node.args.args = [ast.arg(name, lineno=node.lineno, col_offset=0) for name in parameters]
    return compile(module, file, "exec", dont_inherit=True)


def _with_calls(block: list[ast.stmt], shown: list[tuple[tuple[str, ...], str]]) -> list[ast.stmt]:
    """Return the statements of a block with one in the place of those that show a value."""
    calls: list[ast.stmt] = []
    at = 0
    while at < len(block):
        statement = block[at]
        at += 1
        if isinstance(statement, ast.Assign) and ast.dump(statement.targets[0]) == _TEMPORARY:
            for dumps, name in shown:
                if _dumps(block[at : at + len(dumps)]) == dumps:
                    statement = _append(statement, name)
                    at += len(dumps)
                    break
        calls.append(statement)
    return calls


_TEMPORARY: Final = ast.dump(ast.Name("_tt_tmp", ast.Store()))


def _append(assignment: ast.Assign, name: str) -> ast.stmt:
    """Return the statement that appends what the function `name` makes of an assignment's value."""
    value = ast.Call(ast.Name(name, ast.Load()), [assignment.value], [])
    statement = ast.Expr(ast.Call(ast.Name("_tt_append", ast.Load()), [value], []))
    return ast.fix_missing_locations(ast.copy_location(statement, assignment))
