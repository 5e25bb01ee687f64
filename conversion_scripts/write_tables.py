"""Writes the generated tables of the documents anew: python -m conversion_scripts.write_tables [--check]"""

import importlib
import sys
from pathlib import Path

import leaky_interop as li

HOME = Path(__file__).parents[1]
README, SECURITY, OPERATORS = PAGES = [HOME / name for name in ("README.md", "SECURITY.md", "docs/operators.md")]
CONFORMANCE = HOME / "docs" / "conformance.md"  # written by leaky-interop conformance --markdown


def tables(page: Path) -> dict[str, str]:
    """Each generated table of a page by the name of its marker."""
    if page == SECURITY:
        return {"advisories": importlib.import_module("tests.test_security_ids").table()}
    if page == OPERATORS:
        return {"support": li.support().to_markdown()}
    lines = CONFORMANCE.read_text(encoding="utf-8").partition("\n## ")[0].splitlines(keepends=True)
    measured = "".join(line for line in lines if line.startswith("|"))
    return {"slopes": li.slopes().to_markdown(), "conformance": measured}


def written(page: Path) -> str:
    """The page with what stands between each table's markers replaced."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables(page).items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        text = f"{text.partition(begin)[0]}{begin}\n{table.strip()}\n{end}{text.partition(end)[2]}"
    return text


def main(check: bool = False) -> int:
    """Write the pages; with --check only say whether they are up to date."""
    stale = [(page, new) for page in PAGES if (new := written(page)) != page.read_text(encoding="utf-8")]
    for page, new in [] if check else stale:
        page.write_text(new, encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
