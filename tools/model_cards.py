"""Write the model cards, docs/models/NAME.md, from the records of the shipped weights.

    python tools/model_cards.py

Figures, licence, training data and sizes are the records'; what the records cannot know stands here.
"""

from pathlib import Path

from facesmith import files, weights
from facesmith.weights import Figure, WeightRecord

FOLDER = Path(__file__).parents[1] / "docs/models"

ABOUT = {
    "retinaface-mobilenet0.25": "A light RetinaFace: MobileNet-0.25, FPN, context modules. The default model: the "
    "most small faces, everyday threshold 0.5.",
    "damofd-0.5g": "The smallest file and the fewest multiplications (0.59 GMAC at 640×480). Its scores are lower than "
    "RetinaFace's: `--threshold 0.33` gives about as many false positives as 0.5 does there.",
    "bfbox-tiny": "Backbone and pyramid were found together by a search (BFBox). It finds the most small faces at VGA "
    "size, with low scores (lower `--threshold`); its boxes and landmarks are less exact than the default model's.",
    "kpnet-hourglass": "Landmarks first: a face is found as five points, its box follows from them. Pictures are seen "
    "with their long side at 256 pixels, so it finds the larger faces of a picture only.",
    "kpnet-drnet": "As kpnet-hourglass, with the DRNet backbone: it finds more of the small faces, and has more false "
    "positives with high scores.",
    "retinaface-mobilenet0.25-mesh": "The default model with a mesh branch: the same boxes and landmarks, and each "
    "face's 3D mesh, head pose and 68 points (`--mesh`).",
}

LIMITS = """\
- **Not measured by skin colour, age or sex.** The training photographs come from the web and from video, and nobody has
  counted who is in them; expect groups that are rare there to be missed more often. Measure on your own faces before
  anything depends on it (`facesmith evaluate`).
- **Light, blur, pose and occlusion**: the recall above, by WIDER FACE's labels. Infrared, thermal and depth pictures,
  drawings, statues and animals were neither trained on nor measured.
- **Sizes**: see above. `--tiles 1280` finds small faces in pictures of many megapixels, `--size auto` faces that fill
  the picture, `--rotations 90 -90 180` heads that lie on their side ([how](../detect.md)).
- **It finds faces; it does not know whose they are**, and is no evidence that somebody was or was not there."""

BY_SIZE = "px of input: recall"
BY_LABEL = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")


def card(record: WeightRecord) -> str:
    """The card of one model, in Markdown."""
    sizes = {name: figure for name, figure in record.figures.items() if name.endswith(BY_SIZE)}
    labels = {name: figure for name, figure in record.figures.items() if name.startswith(BY_LABEL)}
    others = {name: one for name, one in record.figures.items() if name not in sizes and name not in labels}
    found = record.found_faces
    return "\n".join(
        [
            f"# {record.name}\n\n{ABOUT[record.name]}\n",
            "*Written by `python tools/model_cards.py` from the record that `facesmith models --json` prints.*\n",
            "| | |\n|---|---|",
            f'| use | `facesmith detect photo.jpg --model {record.name}`, `facesmith.load("{record.name}")` |',
            f"| file | {record.file}, {record.bytes:,} bytes, {record.parameters:,} parameters |",
            f"| sha256 | `{record.sha256}` |",
            f"| input | {record.input} |",
            f"| licence | {record.licence} |",
            f"| trained on | {record.training_data} |",
            f"| trained by | `{record.command}` |",
            "| trained for | faces of {:g} to {:g} pixels of the network's input |".format(*record.face_size_range),
            "| finds | " + ("not measured |" if found is None else "faces of {:g} to {:g} pixels |".format(*found)),
            "",
            *_table("Figures", "figure", others),
            *_table("Recall by size of the face, in pixels of the network's input", "size", sizes, BY_SIZE),
            *_table("Recall by light, pose and what else is labelled", "label", labels, ": recall"),
            f"## Limits\n\n{LIMITS}",
            "",
        ]
    )


def _table(title: str, head: str, figures: dict[str, Figure], suffix: str = "") -> list[str]:
    """A heading, a table, and each protocol once."""
    if not figures:
        return []
    protocols = list(dict.fromkeys(figure.protocol for figure in figures.values()))
    lines = [f"## {title}\n", f"| {head} | value | pictures | protocol |", "|---|---|---|---|"]
    for name, figure in figures.items():
        number = protocols.index(figure.protocol) + 1
        lines.append(f"| {name.removesuffix(suffix).strip()} | {figure.value:.4g} | {figure.scope} | ({number}) |")
    return [*lines, "", *(f"({i}) {protocol}  " for i, protocol in enumerate(protocols, 1)), ""]


def main() -> None:
    for record in weights.records().values():
        files.write_text(FOLDER / f"{record.name}.md", card(record))
        print(FOLDER / f"{record.name}.md")


if __name__ == "__main__":
    main()
