"""Writes the generated tables of README.md and SECURITY.md anew: python -m conversion_scripts.write_readme_tables [--check]"""

import sys
from pathlib import Path

import leaky_interop as li

README = Path(__file__).parents[1] / "README.md"
SECURITY = README.with_name("SECURITY.md")
CONFORMANCE = README.parent / "docs" / "conformance.md"  # written by leaky-interop conformance --markdown


def tables(page: Path = README) -> dict[str, str]:
    """Each generated table of a page by the name of its marker."""
    if page == SECURITY:
        from tests import test_security_ids

        return {"advisories": test_security_ids.table()}
    lines = CONFORMANCE.read_text(encoding="utf-8").partition("\n## ")[0].splitlines(keepends=True)
    measured = "".join(line for line in lines if line.startswith("|"))
    return {"slopes": li.slopes().to_markdown(), "conformance": measured, "support": li.support().to_markdown()}


def written(page: Path = README) -> str:
    """The page with what stands between each table's markers replaced."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables(page).items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{table.strip()}\n{end}{after}"
    return text


def main(check: bool = False) -> int:
    """Write the pages; with --check only say whether they are up to date."""
    stale = False
    for page in (README, SECURITY):
        new = written(page)
        stale |= new != page.read_text(encoding="utf-8")
        if not check:
            page.write_text(new, encoding="utf-8")
    return int(check and stale)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
