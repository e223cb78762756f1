"""Vectors made by others, each set whole: `./run conformance` prints the sets, `./run test` runs them too.

What differs from a set is an exact list with its reason; a case that surprises by agreeing fails as well.
"""
