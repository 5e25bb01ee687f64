"""Writes README's and SECURITY.md's generated tables anew: python -m conversion_scripts.write_readme_tables [--check]"""

import importlib
import sys
from pathlib import Path

import leaky_interop as li

README, SECURITY = (Path(__file__).parents[1] / name for name in ("README.md", "SECURITY.md"))
CONFORMANCE = README.parent / "docs" / "conformance.md"  # written by leaky-interop conformance --markdown


def tables(page: Path) -> dict[str, str]:
    """Each generated table of a page by the name of its marker."""
    if page == SECURITY:
        return {"advisories": importlib.import_module("tests.test_security_ids").table()}
    lines = CONFORMANCE.read_text(encoding="utf-8").partition("\n## ")[0].splitlines(keepends=True)
    measured = "".join(line for line in lines if line.startswith("|"))
    return {"slopes": li.slopes().to_markdown(), "conformance": measured, "support": li.support().to_markdown()}


def written(page: Path) -> str:
    """The page with what stands between each table's markers replaced."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables(page).items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        text = f"{text.partition(begin)[0]}{begin}\n{table.strip()}\n{end}{text.partition(end)[2]}"
    return text


def main(check: bool = False) -> int:
    """Write the pages; with --check only say whether they are up to date."""
    stale = [(page, new) for page in (README, SECURITY) if (new := written(page)) != page.read_text(encoding="utf-8")]
    for page, new in [] if check else stale:
        page.write_text(new, encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
