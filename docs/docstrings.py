"""Prepares charrnn's code for the API pages; mkdocs.yml names this file.

A docstring describes parameters and fields in lines such as `steps: of a chunk.` They become the
items of a list, with the name in front as code. A setting is documented by its help.
"""

import ast
import re
from typing import Any

from griffe import Attribute, Docstring, ExprCall, ExprKeyword, Extension, Object


def laid_out(docstring: str) -> str:
    """Return a docstring with its descriptions as a list; indented blocks stay as they are."""
    blocks = docstring.split("\n\n")
    return "\n\n".join(block if block.startswith("    ") else _block(block) for block in blocks)


def _block(block: str) -> str:
    names = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*): (?=\S)")
    text = "\n".join(names.sub(_item, line) for line in block.split("\n"))
    return re.sub(r"\n(?=Raises )", "\n\n", text)


def _item(found: "re.Match[str]") -> str:
    names = ", ".join(f"`{name}`" for name in found[1].split(", "))
    return f"\n- {names}: "


class Docstrings(Extension):
    """Lays out every docstring that griffe reads."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Replace the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = laid_out(obj.docstring.value)

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        """Document a field that is declared as setting(default, help=...) by these two."""
        call = attr.value
        if not (isinstance(call, ExprCall) and str(call.function) == "setting"):
            return
        keywords = (part for part in call.arguments if isinstance(part, ExprKeyword))
        (help_,) = (part.value for part in keywords if part.name == "help")
        text = ast.literal_eval(str(help_))
        attr.docstring = Docstring(text.replace("\\", "\\\\"), parent=attr)
        attr.value = call.arguments[0]
