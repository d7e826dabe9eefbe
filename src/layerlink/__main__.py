"""``python -m layerlink``, which ``torchrun -m layerlink`` starts."""

from layerlink.cli.main import main

if __name__ == "__main__":
    main()
