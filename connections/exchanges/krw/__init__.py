"""What the won exchanges Upbit and Bithumb share: one family of APIs, each with names, limits and bands of its own."""
