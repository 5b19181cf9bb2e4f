"""Models scored by their own library. Imported only in the sandbox, and by `convert` at a desk."""
