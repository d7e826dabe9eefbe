"""Pages and charts that need nothing but a browser."""
