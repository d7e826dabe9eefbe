"""The page that reports are read on."""
