"""`python -m service.cli`, where the package is not installed as a command."""

from service.cli import main

main()
