"""Text formats: plain text, markdown, source code, CSV, JSON, notebooks, XML."""

from __future__ import annotations

import json
import re

from memory.errors import DocumentDamagedError, UnsupportedFormatError
from memory.formats.decode import decode
from memory.formats.values import Extracted, ReadLimits

_LONG_LINE = 2000
_TITLE = re.compile(r"(?:\A|\n)(?:# +(?P<atx>\S[^\n]*)|(?P<set>[^\n]+)\n=+[ \t]*(?:\n|\Z))")


def read_text(data: bytes, format: str, limits: ReadLimits) -> Extracted:
    """Read a text file as it is; spans refer to the decoded file itself.

    Raises:
        UnsupportedFormatError: XML that declares entities.
    """
    text, marks = decode(data, limits)
    if format == "xml":
        if "<!ENTITY" in text[:1_000_000]:
            raise UnsupportedFormatError("XML that declares entities; they could expand without end")
        return Extracted(text, "code", marks=marks)
    title = ""
    if format == "markdown" and (match := _TITLE.search(text[:5000])):
        title = " ".join((match["atx"] or match["set"]).split()).strip("# ")[:200]
    return Extracted(text, format, title, marks=marks)


def read_json(data: bytes, limits: ReadLimits) -> Extracted:
    """Read JSON or JSON lines: as they stand where lines are readable, otherwise laid out anew (and marked).

    Raises:
        DocumentDamagedError: Nested too deeply.
    """
    text, marks = decode(data, limits)
    if max((len(line) for line in text.split("\n")), default=0) <= _LONG_LINE:
        return Extracted(text, "code", marks=marks)
    try:
        laid_out = json.dumps(json.loads(text), ensure_ascii=False, indent=1)
        return Extracted(laid_out, "code", marks=(*marks, "JSON laid out anew"))
    except RecursionError as error:
        raise DocumentDamagedError("JSON nested too deeply") from error
    except ValueError:
        pass
    try:
        records = [json.loads(line) for line in text.splitlines() if line.strip()]
        laid_out = "\n\n".join(json.dumps(record, ensure_ascii=False, indent=1) for record in records)
        return Extracted(laid_out, "code", marks=(*marks, "JSON lines laid out anew"))
    except RecursionError as error:
        raise DocumentDamagedError("JSON nested too deeply") from error
    except ValueError:
        return Extracted(text, "code", marks=(*marks, "not valid JSON; read as text"))


def read_notebook(data: bytes, limits: ReadLimits) -> Extracted:
    """Read a Jupyter notebook: its markdown and code cells in order, without outputs.

    Raises:
        DocumentDamagedError: Not a notebook.
    """
    text, marks = decode(data, limits)
    try:
        cells = json.loads(text)["cells"]
        parts = []
        for cell in cells:
            source = cell.get("source", "")
            body = "".join(source) if isinstance(source, list) else str(source)
            if body.strip():
                parts.append(body if cell.get("cell_type") == "markdown" else f"```python\n{body}\n```")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DocumentDamagedError(f"not a readable notebook ({error})") from error
    return Extracted("\n\n".join(parts), "markdown", marks=(*marks, "notebook cells"))
