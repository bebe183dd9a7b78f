"""The structure of source code: by grammar (tree-sitter) where there is one, by indentation elsewhere.

Definitions become blocks whose heading path is the chain of their names (class, then method); a definition that is too
large for one chunk is opened and its members become blocks. What stands between definitions (imports, constants)
belongs to the block before it, a comment to the definition it stands above.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from memory.chunking.blocks import Block, Limits

_GRAMMARS = {
    "python": ("tree_sitter_python", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "go": ("tree_sitter_go", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "java": ("tree_sitter_java", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "c_sharp": ("tree_sitter_c_sharp", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
    "bash": ("tree_sitter_bash", "language"),
}
LANGUAGES = frozenset(_GRAMMARS)
"""Languages cut by their grammar."""

_WRAPPERS = ("definition", "declaration", "body", "declarator")
_NAMELESS = re.compile(r"expression|call|import|use_|using|package|preproc|command|variable_assign|assignment")
"""Statements that carry a name without defining anything worth a place in the heading path."""
_CONTAINERS = re.compile(r"class|impl|module|namespace|interface|trait|struct|enum|object|declaration_list|block|body")
_DEPTH = 8
_LABEL = 80


def code_blocks(text: str, language: str, limits: Limits) -> Iterator[Block]:
    """Yield the blocks of a source file in order, without gaps."""
    cuts = _grammar_cuts(text, language, limits) if language in LANGUAGES else None
    if cuts is None:
        cuts = _indentation_cuts(text)
    if not cuts or cuts[0][0] > 0:
        cuts.insert(0, (0, ()))
    for (start, heading), (end, _) in zip(cuts, [*cuts[1:], (len(text), ())], strict=True):
        if start < end:
            yield Block(start, end, "code", heading)


@lru_cache(maxsize=32)
def _language(name: str) -> Any:
    """Return a grammar, or None where its package is not installed."""
    try:
        import tree_sitter

        module, attribute = _GRAMMARS[name]
        return tree_sitter.Language(getattr(importlib.import_module(module), attribute)())
    except ImportError:
        return None


def _grammar_cuts(text: str, name: str, limits: Limits) -> list[tuple[int, tuple[str, ...]]] | None:
    language = _language(name)
    if language is None:
        return None
    import tree_sitter

    data = text.encode("utf-8", "replace")
    root = tree_sitter.Parser(language).parse(data).root_node
    cuts: list[tuple[int, tuple[str, ...]]] = []
    _collect(root, (), limits, cuts, 0)
    return _in_characters(text, data, cuts)


def _collect(
    node: Any, path: tuple[str, ...], limits: Limits, cuts: list[tuple[int, tuple[str, ...]]], depth: int
) -> None:
    """Append a cut (byte offset, heading path) for every child worth its own block."""
    comment: int | None = None
    for child in node.named_children:
        start = child.start_byte
        if "comment" in child.type or child.type in ("attribute_item", "decorator"):
            comment = start if comment is None else comment
            continue
        name = _name(child)
        heading = (*path, name) if name else path
        if name or comment is not None or depth == 0:
            cuts.append((comment if comment is not None else start, heading))
        comment = None
        if child.end_byte - child.start_byte > limits.maximum and depth < _DEPTH:
            inner = _body(child)
            if inner is not None:
                _collect(inner, heading, limits, cuts, depth + 1)


def _name(node: Any) -> str:
    """The name a definition gives itself; empty for anything else."""
    for _ in range(4):
        if _NAMELESS.match(node.type):
            return ""
        named = node.child_by_field_name("name")
        if named is None and node.type == "impl_item":
            named = node.child_by_field_name("type")
        if named is not None:
            text = named.text.decode("utf-8", "replace") if named.text else ""
            return " ".join(text.split())[:_LABEL]
        if node.type.endswith("declarator") and node.child_count == 0:
            return ""
        inner = next((found for field in _WRAPPERS[:2] if (found := node.child_by_field_name(field))), None)
        if inner is None and "function" in node.type:
            inner = node.child_by_field_name("declarator")
            if inner is not None and inner.type == "function_declarator":
                target = inner.child_by_field_name("declarator")
                return " ".join(target.text.decode("utf-8", "replace").split())[:_LABEL] if target is not None else ""
        if inner is None:
            return ""
        node = inner
    return ""


def _body(node: Any) -> Any:
    """The part of a large definition that holds its members; None where cutting by lines does as well."""
    for _ in range(4):
        body = node.child_by_field_name("body")
        if body is not None:
            return body
        inner = next((found for field in _WRAPPERS[:2] if (found := node.child_by_field_name(field))), None)
        if inner is None:
            return node if _CONTAINERS.search(node.type) else None
        node = inner
    return None


def _in_characters(
    text: str, data: bytes, cuts: list[tuple[int, tuple[str, ...]]]
) -> list[tuple[int, tuple[str, ...]]]:
    """Turn byte offsets into character offsets at the start of a line where only blanks stand before them."""
    out: list[tuple[int, tuple[str, ...]]] = []
    position = at = 0
    for offset, heading in sorted(cuts, key=lambda cut: cut[0]):
        position += len(data[at:offset].decode("utf-8", "replace"))
        at = offset
        line = text.rfind("\n", 0, position) + 1
        start = line if not text[line:position].strip() else position
        if out and out[-1][0] >= start:
            out[-1] = (out[-1][0], heading)
        else:
            out.append((start, heading))
    return out


def _indentation_cuts(text: str) -> list[tuple[int, tuple[str, ...]]]:
    """Cut before every line at the outermost level (inside the outer bracket, for JSON)."""
    level = ""
    if match := re.match(r"\s*[\[{][ \t\r]*\n([ \t]*)", text):
        level = match.group(1)
    pattern = re.compile(rf"^{re.escape(level)}(?=[^\s\]}})])[^\n]*", re.MULTILINE)
    return [(match.start(), (_label(match.group()),)) for match in pattern.finditer(text)]


def _label(line: str) -> str:
    return " ".join(line.split()).rstrip("{[(:,= ")[:_LABEL]
