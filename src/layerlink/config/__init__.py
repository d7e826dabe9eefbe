"""YAML files with a schema: values with lines, changes by dotted name, every mistake told."""
