"""The demonstration: a simulated exchange, two users who trade on it, and the proof that every order adds up."""
