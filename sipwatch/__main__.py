"""`python -m sipwatch`."""

from sipwatch.cli import main

main()
