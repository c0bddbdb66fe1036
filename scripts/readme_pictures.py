"""The pictures of the README and of the site's first page, from the sweep that they show.

    cl-train -m sweep=first_look name=first
    cl-report outputs/sweeps/first
    python scripts/readme_pictures.py outputs/sweeps/first

Of each chapter of the page, the picture has what can be concluded and one figure. Needs Chromium.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageChops

from cl_runner.report.compare.runs import read
from cl_runner.report.compare.sorting import sections
from cl_runner.report.render.drawings import of_section
from cl_runner.report.render.page import svg

DOCS = Path(__file__).resolve().parent.parent / "docs"
SHOWN = """<style>
nav, footer, .note, figcaption, section > :not(h2, .conclusion, .figures),
.reasons + .figures, figure:not(:has([aria-label^="After each task"])),
.conclusion li:nth-child(n + 6) { display: none !important }
</style></head>"""
MARGIN, SIZE = 12, (1000, 2000)


def main(folder: Path) -> None:
    """Write both."""
    page = (folder / "report" / "report.html").read_text("utf-8")
    picture = cropped(photographed(page.replace("</head>", SHOWN, 1)))
    colours = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    colours.save(DOCS / "results" / "figures" / "report_page.png", optimize=True)
    for section in sections(read([folder])):
        if "class-incremental" in section.title:
            (drawing,) = (one for one in of_section(section) if one.name == "over_tasks")
            (DOCS / "figures" / "first.svg").write_text(f"{svg(drawing)}\n", "utf-8")


def photographed(page: str) -> Image.Image:
    """The page in a window of SIZE."""
    with TemporaryDirectory() as place:
        file, shot = Path(place) / "page.html", Path(place) / "shot.png"
        file.write_text(page, "utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        window = f"--window-size={SIZE[0]},{SIZE[1]}"
        call = ["chromium", *flags, window, f"--user-data-dir={place}/profile",
                f"--screenshot={shot}", file.as_uri()]  # fmt: skip
        subprocess.run(call, check=True, capture_output=True)
        return Image.open(shot).convert("RGB")


def cropped(picture: Image.Image) -> Image.Image:
    """Without the white below what is shown."""
    box = ImageChops.difference(picture, Image.new("RGB", picture.size, "white")).getbbox()
    assert box is not None
    return picture.crop((0, 0, picture.width, min(picture.height, box[3] + MARGIN)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
