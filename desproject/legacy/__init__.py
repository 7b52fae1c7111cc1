"""Coming from a single-user installation of old, which kept its keys in plain text (KEY-5, TEN-6): docs/legacy.md."""
