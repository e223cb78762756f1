"""`python -m portal.cli`: the same as `lotgate`."""

from portal.cli.main import main

main()
