"""Show one model as parsed from each of the four shapes of the catalog.

Lunos has sent its catalog in four shapes; `ModelInfo` is read from each. The local gateway sends
them all, without a key.
"""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal

from _gateway import run

from lunos_core import Lunos, ModelInfo
from lunos_local import LocalGateway

MODEL = "lunos/scripted-priced"
SHAPES = {
    1: 'the reference: {"data": {"models": […]}}',
    2: "a bare array, priced per million",
    3: '{"data": […]} of the same',
    4: "OpenAI's minimum",
}


def parsed(shape: int) -> ModelInfo:
    """The model as a gateway lists it that has this shape alone."""
    with (
        LocalGateway(catalog_shape=shape) as gateway,
        Lunos(api_key=gateway.api_key, base_url=gateway.base_url) as lunos,
    ):
        return next(model for model in lunos.models.list() if model.id == MODEL)


def cell(value: object) -> str:
    """A value, short enough for a table."""
    if isinstance(value, tuple):
        return ", ".join(value[:3]) + (f" + {len(value) - 3}" if len(value) > 3 else "")
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return "-" if value is None else str(value)


def main() -> None:
    """Print the shapes, and the table."""
    models = [parsed(shape) for shape in SHAPES]
    for shape, text in SHAPES.items():
        print(f"shape {shape}: {text}")
    names = [field.name for field in fields(ModelInfo) if field.name != "raw"]
    lines = [["", *(f"shape {shape}" for shape in SHAPES)]]
    lines += [[name, *(cell(getattr(model, name)) for model in models)] for name in names]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        cells = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    run(main)
