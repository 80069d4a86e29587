"""`python -m recovery_cli`: the `recovery` command where it is not on the path."""

from recovery_cli.main import main

main()
