"""`python -m acesim` is `acesim`."""

from acesim.cli import main

if __name__ == "__main__":
    main()
