"""Writes the README's generated tables anew: python -m conversion_scripts.write_readme_tables [--check]"""

import sys
from pathlib import Path

import leaky_interop as li

README = Path(__file__).parents[1] / "README.md"
CONFORMANCE = README.parent / "docs" / "conformance.md"  # written by leaky-interop conformance --markdown


def tables() -> dict[str, str]:
    """Each generated table by the name of its marker."""
    lines = CONFORMANCE.read_text(encoding="utf-8").partition("\n## ")[0].splitlines(keepends=True)
    measured = "".join(line for line in lines if line.startswith("|"))
    return {"slopes": li.slopes().to_markdown(), "conformance": measured, "support": li.support().to_markdown()}


def written(text: str) -> str:
    """The README with what stands between each table's markers replaced."""
    for name, table in tables().items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{table.strip()}\n{end}{after}"
    return text


def main(check: bool = False) -> int:
    """Write the README; with --check only say whether it is up to date."""
    now = README.read_text(encoding="utf-8")
    new = written(now)
    if not check:
        README.write_text(new, encoding="utf-8")
    return int(check and new != now)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
