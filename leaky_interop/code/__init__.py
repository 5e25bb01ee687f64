"""Networks written out as Python, as a person would write them: framework-free, on the standard library's `ast`.

`steps` holds what is computed, `scopes` finds the blocks in it, `folding` makes one definition of blocks that repeat,
`naming` gives the values their names, `text` writes lines. Strings come from strangers' files: they become code only as
identifiers that were checked, or as literals.
"""
