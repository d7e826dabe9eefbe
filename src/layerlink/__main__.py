"""``python -m layerlink``, which ``torchrun -m layerlink`` starts, and the command ``layerlink``."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is loaded is told as everywhere."""
    try:
        from layerlink.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit("layerlink: stopped before anything was done")  # with exit code 1
    run()


if __name__ == "__main__":
    main()
